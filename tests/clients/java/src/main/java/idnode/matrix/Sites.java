package idnode.matrix;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonParser;
import java.io.File;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import net.handle.hdllib.Configuration;
import net.handle.hdllib.Interface;
import net.handle.hdllib.ServerInfo;
import net.handle.hdllib.SiteInfo;

/**
 * The sites of local_info.json, if it names any, and the way to show the client only one transport of them.
 *
 * <p>HSAdapter keeps its resolver to itself, so its protocol order cannot be set; offering it a site with a single
 * interface forces the transport all the same. Changes are in memory; the folder stays as it was written.
 */
final class Sites {
    private final Configuration configuration = Configuration.defaultConfiguration();
    private final Map<String, SiteInfo[]> original = new LinkedHashMap<>();

    Sites(File folder) throws Exception {
        File file = new File(folder, "local_info.json");
        if (!file.exists()) {
            return; // the binary form alone: nothing is narrowed, the client reads it by itself
        }
        JsonArray entries = JsonParser.parseString(Files.readString(file.toPath())).getAsJsonArray();
        for (JsonElement entry : entries) {
            for (JsonElement prefix : entry.getAsJsonObject().getAsJsonArray("nas")) {
                SiteInfo[] sites = configuration.getLocalSites(prefix.getAsString());
                if (sites != null) {
                    original.put(prefix.getAsString(), sites);
                }
            }
        }
    }

    /** Every interface again. */
    void showAll() {
        original.forEach(configuration::setLocalSites);
    }

    /** Only the interfaces of one protocol; the client then has nothing to fall back to. */
    void showOnly(int protocol) {
        for (Map.Entry<String, SiteInfo[]> entry : original.entrySet()) {
            SiteInfo[] narrowed = new SiteInfo[entry.getValue().length];
            for (int i = 0; i < narrowed.length; i++) {
                narrowed[i] = narrow(entry.getValue()[i], protocol);
            }
            configuration.setLocalSites(entry.getKey(), narrowed);
        }
    }

    /** The first site of the folder. */
    SiteInfo first() {
        return original.values().iterator().next()[0];
    }

    /** What each site offers, for the first line of a report: prefix handle, address, protocol, what for, port. */
    JsonArray describe() {
        JsonArray lines = new JsonArray();
        for (Map.Entry<String, SiteInfo[]> entry : original.entrySet()) {
            for (SiteInfo site : entry.getValue()) {
                for (ServerInfo server : site.servers) {
                    for (Interface each : server.interfaces) {
                        String kind = Interface.protocolName(each.protocol) + " " + Interface.typeName(each.type);
                        lines.add(entry.getKey() + " " + server.getAddressString() + " " + kind + " " + each.port);
                    }
                }
            }
        }
        return lines;
    }

    private static SiteInfo narrow(SiteInfo site, int protocol) {
        SiteInfo copy = new SiteInfo(site);
        copy.servers = new ServerInfo[site.servers.length];
        for (int i = 0; i < copy.servers.length; i++) {
            copy.servers[i] = site.servers[i].cloneServerInfo();
            List<Interface> kept = new ArrayList<>();
            for (Interface each : site.servers[i].interfaces) {
                if (each.protocol == protocol) {
                    kept.add(each.cloneInterface());
                }
            }
            copy.servers[i].interfaces = kept.toArray(new Interface[0]);
        }
        return copy;
    }
}
