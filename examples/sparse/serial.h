/*
 * serial.h - logistic regression without servers, for comparison: FTRL-Proximal in
 * double, and the same samples in the same order.
 *
 * Source: McMahan et al., "Ad Click Prediction: a View from the Trenches", KDD 2013,
 * algorithm 1.
 */
#ifndef SPARSE_SERIAL_H
#define SPARSE_SERIAL_H

#include "samples.h"

/* Prints the loss of every epoch, and what a test says; an exit code. */
int serial_train(const struct task *t, const struct samples *s);

#endif
