package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import net.handle.hdllib.AdminRecord;
import net.handle.hdllib.Encoder;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.Util;

/** Handle values from and to the JSON of commands and answers. */
final class Values {
    private static final int PERMISSIONS = 12;

    private Values() {}

    /**
     * From {@code [{"index":1,"type":"URL","data":"text"}]}; instead of {@code data} also {@code hex}, or {@code admin}
     * ({@code {"handle","index","permissions":"111111111111"}}). Permission flags default to the reference's own.
     */
    static HandleValue[] decode(JsonArray given) throws Exception {
        HandleValue[] values = new HandleValue[given.size()];
        for (int i = 0; i < values.length; i++) {
            JsonObject spec = given.get(i).getAsJsonObject();
            byte[] type = spec.get("type").getAsString().getBytes(StandardCharsets.UTF_8);
            HandleValue value = new HandleValue(spec.get("index").getAsInt(), type, data(spec));
            if (spec.has("public_read")) {
                value.setAnyoneCanRead(spec.get("public_read").getAsBoolean());
            }
            if (spec.has("admin_write")) {
                value.setAdminCanWrite(spec.get("admin_write").getAsBoolean());
            }
            if (spec.has("ttl")) {
                value.setTTL(spec.get("ttl").getAsInt());
            }
            values[i] = value;
        }
        return values;
    }

    /** Index, type, size and digest of each value: enough to compare, short enough to print. */
    static JsonArray encode(HandleValue[] values) throws Exception {
        JsonArray list = new JsonArray();
        for (HandleValue value : values) {
            JsonObject entry = new JsonObject();
            entry.addProperty("index", value.getIndex());
            entry.addProperty("type", value.getTypeAsString());
            entry.addProperty("size", value.getData().length);
            entry.addProperty("sha256", hex(MessageDigest.getInstance("SHA-256").digest(value.getData())));
            entry.addProperty("permissions", value.getPermissionString());
            list.add(entry);
        }
        return list;
    }

    private static byte[] data(JsonObject spec) throws Exception {
        if (spec.has("hex")) {
            return unhex(spec.get("hex").getAsString());
        }
        if (spec.has("admin")) {
            return adminRecord(spec.getAsJsonObject("admin"));
        }
        JsonElement text = spec.get("data");
        return text == null ? new byte[0] : text.getAsString().getBytes(StandardCharsets.UTF_8);
    }

    private static byte[] adminRecord(JsonObject admin) throws Exception {
        AdminRecord record = new AdminRecord();
        record.adminId = admin.get("handle").getAsString().getBytes(StandardCharsets.UTF_8);
        record.adminIdIndex = admin.get("index").getAsInt();
        String bits = admin.get("permissions").getAsString();
        record.perms = new boolean[PERMISSIONS];
        for (int i = 0; i < PERMISSIONS; i++) {
            record.perms[i] = bits.charAt(i) == '1';
        }
        return Encoder.encodeAdminRecord(record);
    }

    private static byte[] unhex(String text) {
        byte[] octets = new byte[text.length() / 2];
        for (int i = 0; i < octets.length; i++) {
            octets[i] = (byte) Integer.parseInt(text.substring(2 * i, 2 * i + 2), 16);
        }
        return octets;
    }

    private static String hex(byte[] octets) {
        return Util.decodeHexString(octets, false).toLowerCase(java.util.Locale.ROOT);
    }
}
