package idnode.matrix;

import net.handle.api.HSAdapter;
import net.handle.hdllib.HandleException;
import net.handle.hdllib.HandleValue;

/** The same operations through the library's simple interface, which knows no lists and no sessions of its own. */
final class AdapterCell {
    private static final HandleValue[] NOTHING = {};

    private AdapterCell() {}

    /** Values of a resolution, else none; every failure is the library's exception. */
    static HandleValue[] run(HSAdapter adapter, Command command) throws Exception {
        String handle = command.text("handle", "");
        HandleValue[] values = Values.decode(command.list("values"));
        switch (command.op()) {
            case "resolve":
                boolean authoritative = command.flag("authoritative");
                return adapter.resolveHandle(handle, command.typeNames(), command.indexes(), authoritative);
            case "create":
                adapter.createHandle(handle, values);
                return NOTHING;
            case "add":
                adapter.addHandleValues(handle, values);
                return NOTHING;
            case "modify":
                adapter.updateHandleValues(handle, values);
                return NOTHING;
            case "remove":
                adapter.deleteHandleValues(handle, byIndex(command.indexes()));
                return NOTHING;
            case "delete":
                adapter.deleteHandle(handle);
                return NOTHING;
            default:
                throw new HandleException(HandleException.INTERNAL_ERROR, "no such operation here: " + command.op());
        }
    }

    /** Removal goes by index only; the rest of the value is not looked at. */
    private static HandleValue[] byIndex(int[] indexes) {
        HandleValue[] values = new HandleValue[indexes.length];
        for (int i = 0; i < values.length; i++) {
            values[i] = new HandleValue(indexes[i], "", "");
        }
        return values;
    }
}
