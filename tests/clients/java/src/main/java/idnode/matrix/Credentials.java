package idnode.matrix;

import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.File;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.security.KeyPairGenerator;
import java.security.PrivateKey;
import net.handle.hdllib.AuthenticationInfo;
import net.handle.hdllib.Common;
import net.handle.hdllib.PublicKeyAuthenticationInfo;
import net.handle.hdllib.SecretKeyAuthenticationInfo;
import net.handle.hdllib.Util;

/**
 * The administrator of the configuration folder (admin.json, admpriv.bin), and deliberately wrong copies of it.
 * A command may name another identity with {@code user}, {@code user_index} and {@code secret}.
 */
final class Credentials {
    private static final int WRONG_KEY_BITS = 2048;

    private final JsonObject admin;
    private final byte[] keyFile;
    private PrivateKey wrongKey;

    Credentials(File folder) throws Exception {
        File description = new File(folder, "admin.json");
        admin = JsonParser.parseString(Files.readString(description.toPath())).getAsJsonObject();
        keyFile = Files.readAllBytes(new File(folder, "admpriv.bin").toPath());
    }

    /** What a request carries; null means anonymous. */
    AuthenticationInfo of(Command command) throws Exception {
        switch (command.credential()) {
            case "none":
                return null;
            case "secret":
                return new SecretKeyAuthenticationInfo(user(command), secretIndex(command), secret(command));
            case "wrong-secret":
                byte[] wrong = "not the secret".getBytes(StandardCharsets.UTF_8);
                return new SecretKeyAuthenticationInfo(user(command), secretIndex(command), wrong);
            case "rsa":
                byte[] clear = Util.decrypt(keyFile, null);
                PrivateKey key = Util.getPrivateKeyFromBytes(clear, 0);
                return new PublicKeyAuthenticationInfo(user(command), keyIndex(command), key);
            case "wrong-rsa":
                return new PublicKeyAuthenticationInfo(user(command), keyIndex(command), wrongKey());
            default:
                throw new IllegalArgumentException("unknown credential " + command.credential());
        }
    }

    /** The administrator's private key for the credential {@code rsa}, else none. */
    PrivateKey privateKey(Command command) throws Exception {
        return command.credential().equals("rsa") ? Util.getPrivateKeyFromBytes(Util.decrypt(keyFile, null), 0) : null;
    }

    byte[] user(Command command) {
        return userName(command).getBytes(StandardCharsets.UTF_8);
    }

    String userName(Command command) {
        return command.text("user", admin.get("handle").getAsString());
    }

    int secretIndex(Command command) {
        return (int) command.number("user_index", admin.get("index_secret").getAsLong());
    }

    int keyIndex(Command command) {
        return (int) command.number("user_index", admin.get("index_key").getAsLong());
    }

    byte[] secret(Command command) {
        return command.text("secret", admin.get("secret").getAsString()).getBytes(StandardCharsets.UTF_8);
    }

    /** The reference's private key file, octets as stored; its first four octets say that it is not encrypted. */
    byte[] privateKeyFile() {
        return keyFile.clone();
    }

    /** A key file in the same form which holds a key nobody registered. */
    byte[] wrongPrivateKeyFile() throws Exception {
        byte[] key = Util.getBytesFromPrivateKey(wrongKey());
        byte[] kind = {0, 0, 0, Common.ENCRYPT_NONE};
        return Util.concat(kind, key);
    }

    private synchronized PrivateKey wrongKey() throws Exception {
        if (wrongKey == null) {
            KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
            generator.initialize(WRONG_KEY_BITS);
            wrongKey = generator.generateKeyPair().getPrivate();
        }
        return wrongKey;
    }
}
