/*
 * port.h - where a server finds who lives on its host, inside this room.
 *
 * A listening unix socket with a name that nobody can guess, in the abstract namespace,
 * so that it is there for processes of the same network namespace and goes with this
 * one. The server tells the name to links that ask, and each that finds it becomes a
 * near.
 *
 * Thread: the server's.
 */
#ifndef PS_NET_PORT_H
#define PS_NET_PORT_H

#include "common/net/near.h"

struct psn_port;

ps_status psn_port_open(struct psn_port **out) PS_CHECKED;
void      psn_port_close(struct psn_port **port); /* NULL is fine */

const uint8_t *psn_port_name(const struct psn_port *p);

/* There is the address of psn_near_ipc. */
void psn_port_has_ipc(struct psn_port *p);

/* Readable: serve. */
int  psn_port_fd(const struct psn_port *p);
void psn_port_serve(struct psn_port *p);

/* The near of that key, from which a message came with this return address; NULL: there
 * is none. */
struct psn_near *psn_port_from(struct psn_port *p, const uint8_t *key,
                               const struct ps_route *route);

/* The near from which messages came with this return address; NULL: there is none. */
struct psn_near *psn_port_of(const struct psn_port *p, const struct ps_route *route);

#endif
