package idnode.matrix;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.io.ByteArrayOutputStream;
import java.lang.reflect.InvocationHandler;
import java.lang.reflect.Proxy;
import java.nio.charset.StandardCharsets;
import java.security.PrivateKey;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import net.handle.hdllib.DumpHandlesRequest;
import net.handle.hdllib.DumpHandlesResponse;
import net.handle.hdllib.Encoder;
import net.handle.hdllib.HandleStorage;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.RetrieveTxnRequest;
import net.handle.hdllib.RetrieveTxnResponse;
import net.handle.hdllib.ScanCallback;
import net.handle.hdllib.SignedOutputStream;
import net.handle.hdllib.SiteInfo;
import net.handle.hdllib.Transaction;
import net.handle.hdllib.TransactionQueueInterface;
import net.handle.hdllib.TransactionScannerInterface;

/** A primary of the reference as far as its library goes: writes its streams over given records and transactions. */
final class PrimaryCell {
    private final Map<String, byte[][]> records = new LinkedHashMap<>();
    private final List<byte[]> homed = new ArrayList<>();
    private final List<Transaction> transactions = new ArrayList<>();
    private final Command command;

    PrimaryCell(Command command) throws Exception {
        this.command = command;
        for (JsonElement each : command.list("records")) {
            JsonObject record = each.getAsJsonObject();
            HandleValue[] values = Values.decode(record.getAsJsonArray("values"));
            byte[][] raw = new byte[values.length][];
            for (int i = 0; i < raw.length; i++) {
                raw[i] = Encoder.encodeHandleValue(values[i]);
            }
            records.put(record.get("handle").getAsString(), raw);
        }
        for (JsonElement each : command.list("homed")) {
            homed.add(octets(each.getAsString()));
        }
        for (JsonElement each : command.list("transactions")) {
            JsonObject txn = each.getAsJsonObject();
            byte action = txn.get("action").getAsByte();
            byte[] handle = octets(txn.get("handle").getAsString());
            transactions.add(new Transaction(txn.get("id").getAsLong(), handle, action, txn.get("date").getAsLong()));
        }
    }

    /** Both streams from their type on, as hexadecimal; signed block by block when a key is given. */
    void describe(JsonObject answer, PrivateKey key) throws Exception {
        byte all = SiteInfo.HASH_TYPE_BY_ALL;
        HandleStorage storage = proxy(HandleStorage.class, this::store);
        TransactionQueueInterface queue = proxy(TransactionQueueInterface.class, this::queue);
        long last = command.number("last_txn_id", 0);
        RetrieveTxnRequest log = new RetrieveTxnRequest(last, command.number("last_date", 0), all, 1, 0, null);
        ByteArrayOutputStream octets = new ByteArrayOutputStream();
        SignedOutputStream out = stream(key, octets);
        new RetrieveTxnResponse(queue, queue.getLastTxnId(), log, storage, false).streamResponse(out);
        out.flush();
        answer.addProperty("log", hex(octets.toByteArray()));
        octets.reset();
        out = stream(key, octets);
        DumpHandlesRequest dump = new DumpHandlesRequest(all, 1, 0, null);
        new DumpHandlesResponse(dump, storage, queue, null).streamResponse(out);
        out.flush();
        answer.addProperty("dump", hex(octets.toByteArray()));
    }

    private static SignedOutputStream stream(PrivateKey key, ByteArrayOutputStream octets) throws Exception {
        return key == null ? new SignedOutputStream(octets) : new SignedOutputStream(key, octets);
    }

    private Object store(Object self, java.lang.reflect.Method method, Object[] arguments) throws Throwable {
        switch (method.getName()) {
            case "getRawHandleValues":
                return find((byte[]) arguments[0]);
            case "exists":
                return find((byte[]) arguments[0]) != null;
            case "scanHandles":
                for (String handle : records.keySet()) {
                    ((ScanCallback) arguments[0]).scanHandle(octets(handle));
                }
                return null;
            case "scanNAs":
                for (byte[] name : homed) {
                    ((ScanCallback) arguments[0]).scanHandle(name);
                }
                return null;
            default:
                throw new UnsupportedOperationException(method.getName());
        }
    }

    /** A server that is not case-sensitive, as nearly all are, asks by the upper-case name. */
    private byte[][] find(byte[] handle) {
        String wanted = new String(handle, StandardCharsets.UTF_8);
        for (Map.Entry<String, byte[][]> record : records.entrySet()) {
            if (record.getKey().equalsIgnoreCase(wanted)) {
                return record.getValue();
            }
        }
        return null;
    }

    private Object queue(Object self, java.lang.reflect.Method method, Object[] arguments) {
        switch (method.getName()) {
            case "getLastTxnId":
                return transactions.isEmpty() ? 0L : transactions.get(transactions.size() - 1).txnId;
            case "getFirstDate":
                return transactions.isEmpty() ? Long.MAX_VALUE : transactions.get(0).date;
            case "getScanner":
                return scanner((Long) arguments[0]);
            default:
                throw new UnsupportedOperationException(method.getName());
        }
    }

    private TransactionScannerInterface scanner(long after) {
        List<Transaction> rest = new ArrayList<>(transactions);
        rest.removeIf(txn -> txn.txnId <= after);
        Iterator<Transaction> each = rest.iterator();
        return proxy(TransactionScannerInterface.class, (self, method, arguments) ->
                method.getName().equals("nextTransaction") && each.hasNext() ? each.next() : null);
    }

    private static <T> T proxy(Class<T> kind, InvocationHandler handler) {
        return kind.cast(Proxy.newProxyInstance(kind.getClassLoader(), new Class<?>[] {kind}, handler));
    }

    private static byte[] octets(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static String hex(byte[] octets) {
        StringBuilder digits = new StringBuilder();
        for (byte octet : octets) {
            digits.append(String.format("%02x", octet));
        }
        return digits.toString();
    }
}
