package idnode.trust;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.security.PrivateKey;
import java.security.PublicKey;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import net.handle.hdllib.AbstractRequest;
import net.handle.hdllib.AbstractResponse;
import net.handle.hdllib.Encoder;
import net.handle.hdllib.HandleException;
import net.handle.hdllib.HandleRecord;
import net.handle.hdllib.HandleResolver;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.ResponseMessageCallback;
import net.handle.hdllib.Util;
import net.handle.hdllib.ValueReference;
import net.handle.hdllib.trust.ChainBuilder;
import net.handle.hdllib.trust.ChainVerifier;
import net.handle.hdllib.trust.HandleRecordTrustVerificationReport;
import net.handle.hdllib.trust.HandleRecordTrustVerifier;
import net.handle.hdllib.trust.HandleSigner;
import net.handle.hdllib.trust.HandleVerifier;
import net.handle.hdllib.trust.JsonWebSignature;
import net.handle.hdllib.trust.Permission;

/**
 * The reference's trust package, unmodified, over cases given as JSON: one command per line, one answer per line.
 *
 * <p>{@code verify}: {@code handle}, {@code values} (hex), {@code handles} (name to hex values), {@code roots} (hex).
 * {@code sign}: {@code handle}, {@code values}, {@code issuer} (index:handle), {@code key} (hex private key), {@code
 * chain}, {@code from}, {@code until}. {@code certify}: {@code subject}, {@code public} and, as for sign, the rest;
 * {@code perms}. {@code covers}: {@code handle}, {@code scope}, {@code perm}.
 */
public final class TrustCases {
    private TrustCases() {}

    public static void main(String[] args) throws Exception {
        PrintStream out = new PrintStream(System.out, false, StandardCharsets.UTF_8);
        System.setOut(System.err); // whatever the library prints must not mix with our lines
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            out.print(answer(JsonParser.parseString(line).getAsJsonObject()) + "\n");
        }
        out.flush();
        System.exit(0); // the library keeps pool threads alive
    }

    private static JsonObject answer(JsonObject command) {
        JsonObject answer = new JsonObject();
        try {
            switch (command.get("op").getAsString()) {
                case "verify":
                    verify(command, answer);
                    break;
                case "sign":
                    answer.addProperty("jws", sign(command).serialize());
                    break;
                case "certify":
                    answer.addProperty("jws", certify(command).serialize());
                    break;
                case "covers":
                    answer.addProperty("covers", covers(command));
                    break;
                default:
                    answer.addProperty("error", "unknown command");
            }
        } catch (Exception e) {
            answer.addProperty("error", String.valueOf(e));
        }
        return answer;
    }

    private static void verify(JsonObject command, JsonObject answer) throws Exception {
        Map<String, HandleRecord> records = new HashMap<>();
        for (Map.Entry<String, JsonElement> each : command.getAsJsonObject("handles").entrySet()) {
            records.put(each.getKey(), record(each.getKey(), each.getValue().getAsJsonArray()));
        }
        List<PublicKey> roots = new ArrayList<>();
        for (JsonElement root : command.getAsJsonArray("roots")) {
            roots.add(Util.getPublicKeyFromBytes(unhex(root.getAsString()), 0));
        }
        ChainBuilder builder = new ChainBuilder(records, new NowhereResolver());
        HandleRecordTrustVerifier verifier = new HandleRecordTrustVerifier(builder, new ChainVerifier(roots));
        HandleRecord record = record(command.get("handle").getAsString(), command.getAsJsonArray("values"));
        HandleRecordTrustVerificationReport report = verifier.validateHandleRecordReturnReport(record);
        String error = report.getErrorMessage();
        answer.addProperty("valid", verifier.validateHandleRecord(record));
        answer.addProperty("message", error);
    }

    private static JsonWebSignature sign(JsonObject command) throws Exception {
        HandleRecord record = record(command.get("handle").getAsString(), command.getAsJsonArray("values"));
        return HandleSigner.getInstance()
                .signHandleValues(
                        record.getHandle(),
                        record.getValues(),
                        ValueReference.fromString(command.get("issuer").getAsString()),
                        privateKey(command),
                        chain(command),
                        command.get("from").getAsLong(),
                        command.get("until").getAsLong());
    }

    private static JsonWebSignature certify(JsonObject command) throws Exception {
        List<Permission> permissions = new ArrayList<>();
        for (JsonElement each : command.getAsJsonArray("perms")) {
            JsonObject given = each.getAsJsonObject();
            permissions.add(new Permission(given.get("handle").getAsString(), given.get("perm").getAsString()));
        }
        return HandleSigner.getInstance()
                .signPermissions(
                        ValueReference.fromString(command.get("subject").getAsString()),
                        Util.getPublicKeyFromBytes(unhex(command.get("public").getAsString()), 0),
                        permissions,
                        ValueReference.fromString(command.get("issuer").getAsString()),
                        privateKey(command),
                        chain(command),
                        command.get("from").getAsLong(),
                        command.get("until").getAsLong());
    }

    private static boolean covers(JsonObject command) {
        Permission permission = new Permission(command.get("scope").getAsString(), command.get("perm").getAsString());
        String handle = command.get("handle").getAsString();
        return HandleVerifier.getInstance().verifyPermissionsAreAuthorizedOverHandle(handle, List.of(permission));
    }

    private static PrivateKey privateKey(JsonObject command) throws Exception {
        return Util.getPrivateKeyFromBytes(unhex(command.get("key").getAsString()), 0);
    }

    private static List<String> chain(JsonObject command) {
        List<String> names = new ArrayList<>();
        command.getAsJsonArray("chain").forEach(name -> names.add(name.getAsString()));
        return names;
    }

    private static HandleRecord record(String handle, JsonArray given) throws HandleException {
        HandleValue[] values = new HandleValue[given.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = new HandleValue();
            Encoder.decodeHandleValue(unhex(given.get(i).getAsString()), 0, values[i]);
        }
        return new HandleRecord(handle, values);
    }

    private static byte[] unhex(String text) {
        byte[] octets = new byte[text.length() / 2];
        for (int i = 0; i < octets.length; i++) {
            octets[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return octets;
    }

    /** Handles that are not among the given ones do not exist; nothing is ever sent. */
    private static final class NowhereResolver extends HandleResolver {
        @Override
        public AbstractResponse processRequest(AbstractRequest request, ResponseMessageCallback callback)
                throws HandleException {
            throw new HandleException(HandleException.HANDLE_DOES_NOT_EXIST, "not among the given handles");
        }
    }
}
