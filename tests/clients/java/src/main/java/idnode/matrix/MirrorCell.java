package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.nio.charset.StandardCharsets;
import java.security.PublicKey;
import net.cnri.util.StreamTable;
import net.handle.hdllib.AbstractRequest;
import net.handle.hdllib.AbstractResponse;
import net.handle.hdllib.AuthenticationInfo;
import net.handle.hdllib.DumpHandlesCallback;
import net.handle.hdllib.DumpHandlesRequest;
import net.handle.hdllib.DumpHandlesResponse;
import net.handle.hdllib.HandleException;
import net.handle.hdllib.HandleResolver;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.ReplicationStateInfo;
import net.handle.hdllib.RetrieveTxnRequest;
import net.handle.hdllib.RetrieveTxnResponse;
import net.handle.hdllib.SiteInfo;
import net.handle.hdllib.Transaction;
import net.handle.hdllib.TransactionCallback;
import net.handle.hdllib.Util;

/** A mirror of the reference: asks a server for its transactions or a dump, and lists what its library made of them. */
final class MirrorCell {
    private final HandleResolver resolver;
    private final SiteInfo site;
    private final PublicKey key;
    private final AbstractRequest request;
    private final int protocol;
    private final JsonArray records = new JsonArray();
    private final JsonObject totals = new JsonObject();
    private AbstractResponse response;

    MirrorCell(HandleResolver resolver, SiteInfo site, int protocol, Command command, AuthenticationInfo credential)
            throws Exception {
        this.resolver = resolver;
        this.site = site;
        this.protocol = protocol;
        key = Util.getPublicKeyFromBytes(site.servers[0].publicKey, 0);
        byte option = (byte) command.number("hash_option", SiteInfo.HASH_TYPE_BY_ALL);
        int servers = (int) command.number("servers", 1);
        int position = (int) command.number("position", 0);
        if (command.op().equals("dump")) {
            byte[] start = command.text("start", "").getBytes(StandardCharsets.UTF_8);
            int part = (int) command.number("part", 2);
            request = start.length == 0
                    ? new DumpHandlesRequest(option, servers, position, credential)
                    : new DumpHandlesRequest(option, servers, position, credential, start, part);
        } else if (command.text("queue", "").isEmpty()) {
            long last = command.number("last_txn_id", 0);
            long lastDate = command.number("last_date", 0);
            request = new RetrieveTxnRequest(last, lastDate, option, servers, position, credential);
        } else {
            ReplicationStateInfo state = new ReplicationStateInfo();
            state.setOwnName("java-mirror");
            state.setLastTxnId(command.text("queue", ""), command.number("last_txn_id", 0));
            state.setLastTimestamp(command.text("queue", ""), command.number("last_date", 0));
            request = new RetrieveTxnRequest(state, option, servers, position, credential);
        }
        request.certify = true;
        request.setSupportedProtocolVersion(site);
    }

    void run() throws HandleException {
        response = resolver.sendRequestToSite(request, site, protocol);
        if (response instanceof RetrieveTxnResponse) {
            int status = ((RetrieveTxnResponse) response).processStreamedPart(new Transactions(), key);
            totals.addProperty("status", status);
        } else if (response instanceof DumpHandlesResponse) {
            ((DumpHandlesResponse) response).processStreamedPart(new Dump(), key);
            totals.addProperty("status", RetrieveTxnResponse.SENDING_TRANSACTIONS);
        }
    }

    int code() {
        return response.responseCode;
    }

    void describe(JsonObject answer) {
        answer.add("records", records);
        answer.add("totals", totals);
    }

    private void add(String kind, byte[] name, HandleValue[] values, long number) throws Exception {
        JsonObject line = new JsonObject();
        line.addProperty("kind", kind);
        line.addProperty("handle", new String(name, StandardCharsets.UTF_8));
        line.addProperty("number", number);
        if (values != null) {
            line.add("values", Values.encode(values));
        }
        records.add(line);
    }

    private final class Transactions implements TransactionCallback {
        @Override
        public void processTransaction(Transaction txn) throws HandleException {
            processTransaction("", txn);
        }

        @Override
        public void processTransaction(String queue, Transaction txn) throws HandleException {
            try {
                add(Transaction.actionToString(txn.action), txn.handle, txn.values, txn.txnId);
                totals.addProperty("queue", queue);
            } catch (Exception e) {
                throw new HandleException(HandleException.INTERNAL_ERROR, "cannot list a transaction", e);
            }
        }

        @Override
        public void finishProcessing(long date) {
            totals.addProperty("date", date);
        }

        @Override
        public void finishProcessing() {
            totals.addProperty("finished", true);
        }

        @Override
        public void setQueueLastTimestamp(String queue, long date) {
            totals.addProperty("queue", queue);
            totals.addProperty("last_timestamp", date);
        }
    }

    private final class Dump implements DumpHandlesCallback {
        @Override
        public void addHandle(byte[] handle, HandleValue[] values) throws Exception {
            add("handle", handle, values, 0);
        }

        @Override
        public void addHomedPrefix(byte[] name) throws Exception {
            add("homed", name, null, 0);
        }

        @Override
        public void processThisServerReplicationInfo(long date, long txnId) {
            totals.addProperty("date", date);
            totals.addProperty("txn_id", txnId);
        }

        @Override
        public void processOtherSiteReplicationInfo(StreamTable states) {
            totals.addProperty("others", states.writeToString());
        }

        @Override
        public void setLastCreateOrDeleteDate(byte[] name, long date, int priority) throws Exception {
            add("date", name, null, date);
        }

        @Override
        public void setLastHomeOrUnhomeDate(byte[] name, long date, int priority) throws Exception {
            add("prefix-date", name, null, date);
        }
    }
}
