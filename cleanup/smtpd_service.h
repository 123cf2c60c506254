/*
 * smtpd_service - the channels to the smtpd workers: mail transactions, VRFY's
 * questions, and what MAIL is to be answered.
 *
 * Limits: SMTPD_WORKERS_MAX workers, SMTPD_TRANSACTIONS_MAX transactions and as
 * many questions of each; a worker that wants more is answered 452 for the
 * recipients of the excess. The end of a channel ends its transactions.
 */
#ifndef CLEANUP_SMTPD_SERVICE_H
#define CLEANUP_SMTPD_SERVICE_H

#include <stddef.h>

#include "cleanup/program.h"
#include "cleanup/reply.h"

#define SMTPD_WORKERS_MAX      64
#define SMTPD_TRANSACTIONS_MAX 20000

struct smtpd_service;

struct smtpd_service *smtpd_service_new(struct program *pg);
void smtpd_service_free(struct smtpd_service *s);
/* A fresh channel to worker `index' (takes `fd'); the old one's transactions
   are forgotten. */
void smtpd_service_channel(struct smtpd_service *s, unsigned index, int fd);
/* Tell all workers what MAIL is to be answered. */
void smtpd_service_accepting(struct smtpd_service *s, const struct reply *r);
/* Transactions and questions in hand. */
size_t smtpd_service_open(const struct smtpd_service *s);

#endif
