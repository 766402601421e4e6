package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import java.io.File;
import java.util.HashMap;
import java.util.Map;
import net.handle.api.HSAdapter;
import net.handle.api.HSAdapterFactory;
import net.handle.hdllib.HandleException;
import net.handle.hdllib.HandleResolver;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.Interface;

/** Finds the client object a command asks for, runs the operation, and says what came of it. */
final class Operations {
    /** Shorter than the reference's 60 s: a dead server must show within one cell. */
    private static final int TCP_TIMEOUT_MS = 8_000;

    private static final Map<String, Integer> PROTOCOLS = Map.of(
            "udp", (int) Interface.SP_HDL_UDP,
            "tcp", (int) Interface.SP_HDL_TCP,
            "http", (int) Interface.SP_HDL_HTTP,
            "https", (int) Interface.SP_HDL_HTTPS);

    private final Credentials credentials;
    private final Sites sites;
    private final Map<String, HandleResolver> resolvers = new HashMap<>();
    private final Map<String, HSAdapter> adapters = new HashMap<>();

    Operations(File folder) throws Exception {
        credentials = new Credentials(folder);
        sites = new Sites(folder);
    }

    JsonObject run(Command command) throws Exception {
        JsonObject answer = command.label();
        switch (command.op()) {
            case "sites":
                answer.add("sites", sites.describe());
                return finish(answer, true, null, "interfaces the client sees", 0);
            case "reset":
                resolvers.clear();
                adapters.clear();
                return finish(answer, true, null, "client objects dropped", 0);
            case "primary":
                new PrimaryCell(command).describe(answer, credentials.privateKey(command));
                return finish(answer, true, 1, "streams written", 0);
            case "transactions":
            case "dump":
                return mirror(command, answer);
            default:
                return command.via().equals("adapter") ? adapter(command, answer) : resolver(command, answer);
        }
    }

    private JsonObject resolver(Command command, JsonObject answer) throws Exception {
        sites.showAll();
        HandleResolver resolver = resolverFor(command);
        resolver.clearCaches(); // a cached answer would never reach the server's counters
        ResolverCell cell = new ResolverCell(resolver, command, credentials.of(command));
        long start = System.nanoTime();
        try {
            cell.run();
            long nanos = System.nanoTime() - start;
            cell.describe(answer);
            return finish(answer, cell.code() == 1, cell.code(), cell.detail(), nanos);
        } catch (HandleException e) {
            return refuse(answer, e, System.nanoTime() - start);
        }
    }

    private JsonObject mirror(Command command, JsonObject answer) throws Exception {
        sites.showAll();
        HandleResolver resolver = resolverFor(command);
        MirrorCell cell = new MirrorCell(resolver, sites.first(), protocol(command), command, credentials.of(command));
        long start = System.nanoTime();
        try {
            cell.run();
            cell.describe(answer);
            return finish(answer, cell.code() == 1, cell.code(), "", System.nanoTime() - start);
        } catch (HandleException e) {
            return refuse(answer, e, System.nanoTime() - start);
        }
    }

    private JsonObject adapter(Command command, JsonObject answer) throws Exception {
        if (command.transport().equals("default")) {
            sites.showAll();
        } else {
            sites.showOnly(protocol(command));
        }
        long start = System.nanoTime();
        try {
            HSAdapter adapter = adapterFor(command);
            if (!command.op().equals("open")) {
                start = System.nanoTime(); // what opening cost is the cell "open"
                HandleValue[] values = AdapterCell.run(adapter, command);
                answer.add("values", Values.encode(values));
            }
            return finish(answer, true, 1, "success", System.nanoTime() - start);
        } catch (HandleException e) {
            return refuse(answer, e, System.nanoTime() - start);
        }
    }

    /** One resolver per combination; it keeps its sessions until a command says {@code "fresh":true}. */
    private HandleResolver resolverFor(Command command) {
        String key = command.transport() + "/" + command.credential() + "/" + command.inSession();
        if (command.flag("fresh")) {
            resolvers.remove(key);
        }
        return resolvers.computeIfAbsent(key, ignored -> {
            HandleResolver resolver = new HandleResolver();
            resolver.setTcpTimeout(TCP_TIMEOUT_MS);
            if (!command.transport().equals("default")) {
                resolver.setPreferredProtocols(new int[] {protocol(command)});
            }
            if (!command.inSession()) {
                resolver.setSessionTracker(null); // the library starts sessions unless told not to
            }
            return resolver;
        });
    }

    private HSAdapter adapterFor(Command command) throws Exception {
        String key = command.transport() + "/" + command.credential();
        if (command.flag("fresh")) {
            adapters.remove(key);
        }
        HSAdapter adapter = adapters.get(key);
        if (adapter == null) {
            adapter = open(command);
            adapter.setTcpTimeout(TCP_TIMEOUT_MS);
            adapters.put(key, adapter);
        }
        return adapter;
    }

    private HSAdapter open(Command command) throws Exception {
        String user = credentials.userName(command);
        switch (command.credential()) {
            case "none":
                return HSAdapterFactory.newInstance();
            case "secret":
                byte[] secret = credentials.secret(command);
                return HSAdapterFactory.newInstance(user, credentials.secretIndex(command), secret);
            case "wrong-secret":
                return HSAdapterFactory.newInstance(user, credentials.secretIndex(command), new byte[] {'n', 'o'});
            case "rsa":
                byte[] key = credentials.privateKeyFile();
                return HSAdapterFactory.newInstance(user, credentials.keyIndex(command), key, null);
            case "wrong-rsa":
                byte[] wrong = credentials.wrongPrivateKeyFile();
                return HSAdapterFactory.newInstance(user, credentials.keyIndex(command), wrong, null);
            default:
                throw new IllegalArgumentException("unknown credential " + command.credential());
        }
    }

    private static int protocol(Command command) {
        Integer protocol = PROTOCOLS.get(command.transport());
        if (protocol == null) {
            throw new IllegalArgumentException("unknown transport " + command.transport());
        }
        return protocol;
    }

    /** The library threw: its own number is not a response code of the protocol and goes under another name. */
    private static JsonObject refuse(JsonObject answer, HandleException e, long nanos) {
        answer.addProperty("client_code", e.getCode());
        answer.addProperty("client_error", HandleException.getCodeStr(e.getCode()));
        Throwable cause = e.getCause();
        String detail = e.getMessage() + (cause == null ? "" : " <- " + cause);
        return finish(answer, false, null, detail, nanos);
    }

    private static JsonObject finish(JsonObject answer, boolean ok, Integer code, String detail, long nanos) {
        answer.addProperty("ok", ok);
        answer.addProperty("code", code);
        answer.addProperty("ms", nanos / 1_000 / 1_000.0);
        answer.addProperty("detail", detail);
        if (!answer.has("values")) {
            answer.add("values", new JsonArray());
        }
        return answer;
    }
}
