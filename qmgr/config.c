/* The scheduler's settings, out of all settings. */
#include "config.h"

#include "qmgr/sched.h"

struct sched_config
qmgr_sched_config(const struct settings *set)
{
	return (struct sched_config){
		.min_backoff = set->minimal_backoff_time,
		.max_backoff = set->maximal_backoff_time >
		    set->minimal_backoff_time ? set->maximal_backoff_time :
		    set->minimal_backoff_time,
		.lifetime = set->maximal_queue_lifetime,
		.bounce_lifetime = set->bounce_queue_lifetime,
		.delay_warning = set->delay_warning_time,
		.soft_bounce = set->soft_bounce,
		.defer_transports = set->defer_transports,
		.active_limit = set->qmgr_message_active_limit,
		.limits = {
			[SCHED_T_LOCAL] = {
				set->local_destination_concurrency_limit,
				set->local_destination_concurrency_limit,
				set->local_destination_recipient_limit,
				set->local_destination_rate_delay },
			[SCHED_T_SMTP] = {
				set->smtp_destination_concurrency_limit,
				set->smtp_initial_destination_concurrency,
				set->smtp_destination_recipient_limit,
				set->smtp_destination_rate_delay },
			[SCHED_T_LMTP] = {
				set->lmtp_destination_concurrency_limit,
				set->lmtp_initial_destination_concurrency,
				set->lmtp_destination_recipient_limit,
				set->lmtp_destination_rate_delay },
		},
	};
}
