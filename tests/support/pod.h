/* pod.h: a simulated pod: a router process and a connector as its native sidecar, which meet at a Unix socket in the
 * pod's own folder, and end in the order that the kubelet keeps: preStop, the application, the sidecar.
 *
 * The environment variable CONNECTOR names another connector's program to put in culvert's place. */
#ifndef TESTS_POD_H
#define TESTS_POD_H

#include "process.h"

struct pod {
    char dir[64], metrics[32];
    struct process *router, *connector;
};

/* What the rules of the edge must say for every pod to find its own router. */
#define POD_RULES "{\"ingress\":[{\"service\":\"unix:router.sock\"}]}"

struct pod_setup {
    const char *const *edges; /* host:port; ends in NULL */
    const char *cacert, *transport, *token;
};
/* Starts both, sidecar first; true once the connector's /ready says so. */
bool pod_start(struct pod *, const struct pod_setup *);
/* preStop: POST /drain; a connector that does not know it goes without. Then SIGTERM to the router, which finishes, then
 * to the connector. True if both ended with 0. */
bool pod_terminate(struct pod *);

#endif
