/* tester.h - an observer that tests the model while others train it. */
#ifndef LENET_TESTER_H
#define LENET_TESTER_H

#include "task.h"

/* Before anything that takes time: SIGTERM may come at any moment. */
void lenet_tester_listen(void);

/* Tests every test_every seconds until SIGTERM, reports `test_accuracy`.  An exit
 * code. */
int lenet_tester(struct lenet_task *t);

#endif
