/* The harness's own ceiling: a server that looks nothing up. Each request comes back as "handle not found" (RC 100),
 * its own body as the answer's, which is the least a server can do that the generator accepts as right for a handle
 * that is not registered. One thread, recvmmsg and sendmmsg in batches of 64.
 *
 *   c_echo [--port 0] [--cpu -1]
 *
 * Prints "READY <port>" once bound; ends on SIGTERM or SIGINT. */
#define _GNU_SOURCE
#include "../c_lookup/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sys/socket.h>

static void echo(int fd) {
    static uint8_t in[BATCH][DATAGRAM_OCTETS_MAX];
    static struct sockaddr_in from[BATCH];
    static struct mmsghdr messages[BATCH];
    static struct iovec at[BATCH];
    for (;;) {
        for (int i = 0; i < BATCH; i++) {
            at[i] = (struct iovec){in[i], DATAGRAM_OCTETS_MAX};
            messages[i].msg_hdr = (struct msghdr){.msg_iov = &at[i], .msg_iovlen = 1, .msg_name = &from[i],
                                                  .msg_namelen = sizeof from[i]};
        }
        int got = recvmmsg(fd, messages, BATCH, MSG_WAITFORONE, NULL);
        if (got < 0) { if (errno == EINTR) continue; fail("recvmmsg"); }
        for (int i = 0; i < got; i++) {
            at[i].iov_len = messages[i].msg_len;
            if (messages[i].msg_len < BODY_AT) continue;
            put32(in[i] + RESPONSE_CODE_AT, 100);
            put32(in[i] + FLAGS_AT, get32(in[i] + FLAGS_AT) | FLAG_AT);
        }
        for (int done = 0; done < got;) {
            int n = sendmmsg(fd, messages + done, got - done, 0);
            if (n < 0 && errno != EINTR) n = 1; /* one peer unreachable must not stop the others */
            if (n > 0) done += n;
        }
    }
}

int main(int argc, char **argv) {
    const char *port = "0", *cpu = "-1";
    parse_options(argc, argv, (struct option_slot[]){{"--port", &port}, {"--cpu", &cpu}, {NULL, NULL}});
    pin(atoi(cpu));
    int fd = socket(AF_INET, SOCK_DGRAM, 0), size = 4 << 20;
    struct sockaddr_in me = {.sin_family = AF_INET, .sin_port = htons(atoi(port))};
    socklen_t octets = sizeof me;
    me.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (fd < 0 || bind(fd, (struct sockaddr *)&me, sizeof me)) fail("bind");
    if (getsockname(fd, (struct sockaddr *)&me, &octets)) fail("getsockname");
    printf("READY %d\n", ntohs(me.sin_port));
    fflush(stdout);
    echo(fd);
    return 0;
}
