/*
 * port.h - a port of this machine that stays free while nobody listens there.
 *
 * A program that is to come back to its port cannot take any that the kernel has to
 * spare: those of outgoing connections might be given away meanwhile, and who tries to
 * connect to one of them, again and again, may even be connected to himself.
 *
 * Thread: any.
 */
#ifndef TOOLS_PORT_H
#define TOOLS_PORT_H

#include "common/base/status.h"

/* Of loopback, and not one that the kernel chooses by itself; nobody listens there now.
 * PS_ERR_UNAVAILABLE when none is found. */
ps_status port_choose(unsigned *port) PS_CHECKED;

#endif
