package idnode.bench;

import java.io.BufferedInputStream;
import java.io.DataInputStream;
import java.io.File;
import java.io.FileInputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.util.HashSet;
import java.util.Set;
import net.cnri.util.StreamTable;
import net.cnri.util.StreamVector;
import net.handle.hdllib.Attribute;
import net.handle.hdllib.Common;
import net.handle.hdllib.Encoder;
import net.handle.hdllib.HandleStorage;
import net.handle.hdllib.HandleValue;
import net.handle.hdllib.Interface;
import net.handle.hdllib.ServerInfo;
import net.handle.hdllib.SiteInfo;
import net.handle.hdllib.Util;
import net.handle.server.HandleStorageFactory;

/**
 * Makes a server folder on loopback and fills its database, as its own tools would after an evening of questions.
 *
 * <p>PeerSetup FOLDER POPULATION PORT; the population file is that of bench/peers/c_lookup/wire.h.
 */
public final class PeerSetup {
    private static final String ADDRESS = "127.0.0.1";
    private static final String THREADS = "15";
    private static final int VERSION = 1;

    private PeerSetup() {}

    public static void main(String[] args) throws Exception {
        File folder = new File(args[0]);
        int port = Integer.parseInt(args[2]);
        byte[] publicKey = writeKeys(folder.toPath());
        Files.write(folder.toPath().resolve("siteinfo.bin"), Encoder.encodeSiteInfoRecord(site(port, publicKey)));
        StreamTable server = serverSection();
        configuration(port, server).writeToFile(new File(folder, "config.dct"));
        HandleStorage storage = HandleStorageFactory.getStorage(folder, server, true);
        try {
            System.out.println("LOADED " + load(storage, new File(args[1])));
        } finally {
            storage.shutdown();
        }
    }

    private static byte[] writeKeys(Path folder) throws Exception {
        KeyPairGenerator generator = KeyPairGenerator.getInstance("RSA");
        generator.initialize(2048);
        KeyPair pair = generator.generateKeyPair();
        byte[] octets = Util.getBytesFromPrivateKey(pair.getPrivate());
        Files.write(folder.resolve("privkey.bin"), Util.encrypt(octets, null, Common.ENCRYPT_NONE));
        byte[] publicKey = Util.getBytesFromPublicKey(pair.getPublic());
        Files.write(folder.resolve("pubkey.bin"), publicKey);
        return publicKey;
    }

    private static SiteInfo site(int port, byte[] publicKey) throws IOException {
        ServerInfo server = new ServerInfo();
        server.serverId = 1;
        server.ipAddress = new byte[Common.IP_ADDRESS_LENGTH];
        System.arraycopy(InetAddress.getByName(ADDRESS).getAddress(), 0, server.ipAddress, 12, 4);
        server.publicKey = publicKey;
        server.interfaces = new Interface[] {
            new Interface(Interface.ST_ADMIN_AND_QUERY, Interface.SP_HDL_UDP, port),
            new Interface(Interface.ST_ADMIN_AND_QUERY, Interface.SP_HDL_TCP, port)
        };
        SiteInfo site = new SiteInfo();
        site.serialNumber = 1;
        site.isPrimary = true;
        site.hashOption = SiteInfo.HASH_TYPE_BY_ALL;
        site.attributes = new Attribute[] {new Attribute(Util.encodeString("desc"), Util.encodeString("peer"))};
        site.servers = new ServerInfo[] {server};
        return site;
    }

    private static StreamTable serverSection() {
        StreamVector admins = new StreamVector();
        admins.add("300:0.NA/99.900");
        StreamTable section = new StreamTable();
        section.put("this_server_id", "1");
        section.put("is_primary", "yes");
        section.put("case_sensitive", "no");
        section.put("max_auth_time", "60000");
        section.put("storage_type", "bdbje");
        section.put("server_admins", admins);
        return section;
    }

    private static StreamTable configuration(int port, StreamTable server) {
        StreamTable config = new StreamTable();
        StreamVector interfaces = new StreamVector();
        for (String name : new String[] {"hdl_udp", "hdl_tcp"}) {
            StreamTable section = new StreamTable();
            section.put("bind_address", ADDRESS);
            section.put("bind_port", String.valueOf(port));
            section.put("num_threads", THREADS);
            section.put("log_accesses", "no");
            config.put(name + "_config", section);
            interfaces.add(name);
        }
        StreamTable log = new StreamTable();
        log.put("log_save_interval", "Never");
        config.put("interfaces", interfaces);
        config.put("log_save_config", log);
        config.put("no_udp_resolution", "n");
        config.put("server_type", "server");
        config.put("server_config", server);
        return config;
    }

    private static long load(HandleStorage storage, File population) throws Exception {
        Set<String> prefixes = new HashSet<>();
        try (DataInputStream in = new DataInputStream(new BufferedInputStream(new FileInputStream(population)))) {
            if (in.readInt() != 0x49444250 || in.readInt() != VERSION) {
                throw new IOException(population + " is not a population file, version " + VERSION);
            }
            long count = in.readLong();
            for (long number = 0; number < count; number++) {
                byte[] handle = counted(in);
                byte[] prefix = Util.getZeroNAHandle(handle);
                if (prefixes.add(Util.decodeString(prefix))) {
                    storage.setHaveNA(Util.upperCase(prefix), true);
                }
                storage.createHandle(Util.upperCase(handle), values(counted(in)));
            }
            return count;
        }
    }

    private static byte[] counted(DataInputStream in) throws IOException {
        byte[] octets = new byte[in.readInt()];
        in.readFully(octets);
        return octets;
    }

    private static HandleValue[] values(byte[] list) throws Exception {
        HandleValue[] values = new HandleValue[Encoder.readInt(list, 0)];
        int at = 4;
        for (int number = 0; number < values.length; number++) {
            values[number] = new HandleValue();
            at += Encoder.decodeHandleValue(list, at, values[number]);
        }
        return values;
    }
}
