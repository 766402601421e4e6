package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import net.handle.hdllib.AbstractMessage;
import net.handle.hdllib.AbstractRequest;
import net.handle.hdllib.AbstractResponse;
import net.handle.hdllib.AddValueRequest;
import net.handle.hdllib.AuthenticationInfo;
import net.handle.hdllib.CreateHandleRequest;
import net.handle.hdllib.CreateHandleResponse;
import net.handle.hdllib.DeleteHandleRequest;
import net.handle.hdllib.ErrorResponse;
import net.handle.hdllib.GenericRequest;
import net.handle.hdllib.HandleException;
import net.handle.hdllib.HandleResolver;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.ListHandlesRequest;
import net.handle.hdllib.ListHandlesResponse;
import net.handle.hdllib.ModifyValueRequest;
import net.handle.hdllib.RemoveValueRequest;
import net.handle.hdllib.ResolutionRequest;
import net.handle.hdllib.ResolutionResponse;

/** One request through HandleResolver: built from the command, sent, its response code kept as received. */
final class ResolverCell {
    private final HandleResolver resolver;
    private final AbstractRequest request;
    private final List<AbstractResponse> parts = new ArrayList<>();
    private AbstractResponse response;

    ResolverCell(HandleResolver resolver, Command command, AuthenticationInfo credential) throws Exception {
        this.resolver = resolver;
        request = build(command, credential);
        request.certify = command.flag("certify");
        request.authoritative = command.flag("authoritative");
        request.encrypt = command.flag("encrypt");
        request.overwriteWhenExists = command.flag("overwrite");
        request.mintNewSuffix = command.flag("mint");
        request.ignoreRestrictedValues = !command.flag("restricted");
    }

    void run() throws HandleException {
        // A list comes in several messages; the last may be handed to the callback and returned as well.
        response = resolver.processRequest(request, parts::add);
        if (response != null && !parts.contains(response)) {
            parts.add(response);
        }
        if (response == null && !parts.isEmpty()) {
            response = parts.get(parts.size() - 1);
        }
    }

    int code() {
        return response == null ? 0 : response.responseCode;
    }

    String detail() {
        String text = AbstractMessage.getResponseCodeMessage(code());
        if (response instanceof ErrorResponse && ((ErrorResponse) response).message != null) {
            text += ": " + new String(((ErrorResponse) response).message, StandardCharsets.UTF_8);
        }
        return text;
    }

    /** What the answer said beyond its code. */
    void describe(JsonObject answer) throws Exception {
        answer.addProperty("session_used", request.sessionInfo != null);
        answer.addProperty("messages", parts.size());
        if (response instanceof ResolutionResponse) {
            answer.add("values", Values.encode(((ResolutionResponse) response).getHandleValues()));
        }
        if (response instanceof CreateHandleResponse && ((CreateHandleResponse) response).handle != null) {
            answer.addProperty("created", text(((CreateHandleResponse) response).handle));
        }
        if (response instanceof ListHandlesResponse) {
            JsonArray names = new JsonArray();
            for (AbstractResponse part : parts) {
                for (byte[] handle : ((ListHandlesResponse) part).handles) {
                    names.add(text(handle));
                }
            }
            answer.add("handles", names);
        }
    }

    private static AbstractRequest build(Command command, AuthenticationInfo credential) throws Exception {
        byte[] handle = command.handle();
        HandleValue[] values = Values.decode(command.list("values"));
        switch (command.op()) {
            case "resolve":
                return new ResolutionRequest(handle, command.types(), command.indexes(), credential);
            case "site":
                return new GenericRequest(handle, AbstractMessage.OC_GET_SITE_INFO, credential);
            case "create":
                return new CreateHandleRequest(handle, values, credential);
            case "add":
                return new AddValueRequest(handle, values, credential);
            case "modify":
                return new ModifyValueRequest(handle, values, credential);
            case "remove":
                return new RemoveValueRequest(handle, command.indexes(), credential);
            case "delete":
                return new DeleteHandleRequest(handle, credential);
            case "list":
                return new ListHandlesRequest(handle, credential);
            default:
                throw new HandleException(HandleException.INTERNAL_ERROR, "no such operation: " + command.op());
        }
    }

    private static String text(byte[] octets) {
        return new String(octets, StandardCharsets.UTF_8);
    }
}
