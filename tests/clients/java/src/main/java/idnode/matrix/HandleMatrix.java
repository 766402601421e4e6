package idnode.matrix;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import com.google.gson.JsonSyntaxException;
import java.io.BufferedReader;
import java.io.File;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/**
 * Drives the unmodified reference client, one cell of the compatibility matrix per line.
 *
 * <p>Reads one JSON command per line from standard input, executes it with the configuration folder named by
 * {@code -Dnet.handle.configDir}, writes one JSON line to standard output. The caller reads the server's counters
 * between two lines. Ends at end of input or at {@code {"op":"quit"}} with one summary line.
 *
 * <p>Command fields: {@code op}, {@code via} (resolver | adapter), {@code transport} (udp | tcp | http | https |
 * default), {@code credential} (none | secret | rsa | wrong-secret | wrong-rsa), {@code session} (on | off),
 * {@code handle}, and per operation {@code types}, {@code indexes}, {@code values}, {@code fresh}, {@code deadline_ms}.
 */
public final class HandleMatrix {
    /** A command that takes longer is given up and reported; the reference's own TCP time-out is 60 s. */
    private static final long DEFAULT_DEADLINE_MS = 20_000;

    private final PrintStream out;
    private final Operations operations;
    private ExecutorService worker = newWorker();
    private int done;
    private int succeeded;

    private HandleMatrix(PrintStream out, Operations operations) {
        this.out = out;
        this.operations = operations;
    }

    public static void main(String[] args) throws Exception {
        PrintStream out = System.out;
        System.setOut(System.err); // whatever the library prints must not mix with our lines
        String folder = System.getProperty("net.handle.configDir");
        if (folder == null) {
            System.err.println("start with -Dnet.handle.configDir=DIR");
            System.exit(2);
        }
        new HandleMatrix(out, new Operations(new File(folder))).loop();
        System.exit(0); // the library keeps pool threads alive
    }

    private void loop() throws Exception {
        JsonObject hello = new JsonObject();
        hello.addProperty("ready", true);
        hello.addProperty("java", System.getProperty("java.version"));
        emit(hello);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            if (line.isBlank()) {
                continue;
            }
            Command command;
            try {
                command = new Command(JsonParser.parseString(line).getAsJsonObject());
            } catch (JsonSyntaxException | IllegalStateException e) {
                emit(failure(null, "not a JSON object: " + e.getMessage(), 0));
                continue;
            }
            if (command.op().equals("quit")) {
                break;
            }
            emit(execute(command));
        }
        JsonObject summary = new JsonObject();
        summary.addProperty("summary", true);
        summary.addProperty("cells", done);
        summary.addProperty("ok", succeeded);
        emit(summary);
    }

    /** One cell, with a deadline: a server that never answers costs a line, not the run. */
    private JsonObject execute(Command command) throws InterruptedException {
        long deadline = command.number("deadline_ms", DEFAULT_DEADLINE_MS);
        long start = System.nanoTime();
        Future<JsonObject> running = worker.submit(() -> operations.run(command));
        JsonObject answer;
        try {
            answer = running.get(deadline, TimeUnit.MILLISECONDS);
        } catch (TimeoutException e) {
            worker.shutdownNow();
            worker = newWorker();
            answer = failure(command, "no answer within " + deadline + " ms", System.nanoTime() - start);
        } catch (ExecutionException e) {
            answer = failure(command, String.valueOf(e.getCause()), System.nanoTime() - start);
        }
        done++;
        if (answer.get("ok").getAsBoolean()) {
            succeeded++;
        }
        return answer;
    }

    private static JsonObject failure(Command command, String detail, long nanos) {
        JsonObject answer = command == null ? new JsonObject() : command.label();
        answer.addProperty("ok", false);
        answer.add("code", null);
        answer.addProperty("ms", nanos / 1_000 / 1_000.0);
        answer.addProperty("detail", detail);
        return answer;
    }

    private void emit(JsonObject line) {
        out.print(line.toString() + "\n");
        out.flush();
    }

    private static ExecutorService newWorker() {
        return Executors.newSingleThreadExecutor(task -> {
            Thread thread = new Thread(task, "cell");
            thread.setDaemon(true);
            return thread;
        });
    }
}
