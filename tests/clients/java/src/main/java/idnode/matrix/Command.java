package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** One line of input: typed access with defaults. */
final class Command {
    private static final String[] LABELS = {"op", "via", "transport", "credential", "session", "handle"};

    private final JsonObject json;

    Command(JsonObject json) {
        this.json = json;
    }

    String op() {
        return text("op", "");
    }

    String via() {
        return text("via", "resolver");
    }

    String transport() {
        return text("transport", "default");
    }

    String credential() {
        return text("credential", "none");
    }

    boolean inSession() {
        return text("session", "off").equals("on");
    }

    byte[] handle() {
        return text("handle", "").getBytes(StandardCharsets.UTF_8);
    }

    String text(String name, String fallback) {
        return json.has(name) ? json.get(name).getAsString() : fallback;
    }

    long number(String name, long fallback) {
        return json.has(name) ? json.get(name).getAsLong() : fallback;
    }

    boolean flag(String name) {
        return json.has(name) && json.get(name).getAsBoolean();
    }

    /** The list, or an empty one: the reference takes empty and absent alike for "all". */
    JsonArray list(String name) {
        return json.has(name) ? json.getAsJsonArray(name) : new JsonArray();
    }

    int[] indexes() {
        JsonArray given = list("indexes");
        int[] indexes = new int[given.size()];
        for (int i = 0; i < indexes.length; i++) {
            indexes[i] = given.get(i).getAsInt();
        }
        return indexes;
    }

    String[] typeNames() {
        List<String> names = new ArrayList<>();
        for (JsonElement name : list("types")) {
            names.add(name.getAsString());
        }
        return names.toArray(new String[0]);
    }

    byte[][] types() {
        String[] names = typeNames();
        byte[][] types = new byte[names.length][];
        for (int i = 0; i < names.length; i++) {
            types[i] = names[i].getBytes(StandardCharsets.UTF_8);
        }
        return types;
    }

    /** The fields which say which cell this is, for the answer. */
    JsonObject label() {
        JsonObject label = new JsonObject();
        label.addProperty("op", op());
        label.addProperty("via", via());
        label.addProperty("transport", transport());
        label.addProperty("credential", credential());
        label.addProperty("session", inSession() ? "on" : "off");
        for (String name : LABELS) {
            if (json.has(name)) {
                label.add(name, json.get(name));
            }
        }
        return label;
    }
}
