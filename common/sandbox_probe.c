#include "config.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/log.h"
#include "common/sandbox_acts.h"

struct probe {
	const struct sandbox_request *rq;
	struct sandbox_identity id;
	struct sandbox_place place;
};

/* What became of an act: an errno, 0 for done, or one of these. */
#define KILLED    (-1)
#define NO_ANSWER (-2)

/* -- a place to try things at ---------------------------------------------- */

static void
join(char *to, size_t cap, const char *a, const char *b)
{
	int n = snprintf(to, cap, "%s%s", a, b);

	if (n < 0 || (size_t)n >= cap) {
		log_panic("wall_probe: %s%s is too long", a, b);
	}
}

/* The directory above the first path, as the walls see it: without "..". */
static void
find_above(struct sandbox_place *place, const struct sandbox_request *rq)
{
	const char *slash;
	size_t n = 0;

	join(place->above, sizeof(place->above), "/", "");
	if (rq->npaths == 0 || rq->paths[0].path[0] != '/') {
		return;
	}
	slash = strrchr(rq->paths[0].path, '/');
	n = (size_t)(slash - rq->paths[0].path);
	if (n > 0 && n < sizeof(place->above)) {
		memcpy(place->above, rq->paths[0].path, n);
		place->above[n] = '\0';
	}
}

static void
remove_place(const struct sandbox_place *place)
{
	(void)unlink(place->file);
	if (unlink(place->other) == -1) {
		(void)rmdir(place->other);
	}
	(void)rmdir(place->dir);
}

/* Anybody may do anything there, but for the walls. False: not to be had. */
static bool
make_place(struct sandbox_place *place)
{
	int fd, dir;
	bool ok;

	join(place->dir, sizeof(place->dir), "/tmp", "/veredus-probe-XXXXXX");
	if (mkdtemp(place->dir) == NULL) {
		return false;
	}
	join(place->file, sizeof(place->file), place->dir, "/f");
	join(place->other, sizeof(place->other), place->dir, "/g");
	/* fchmod(): a worker's probe runs behind the forker's filter. */
	fd = open(place->file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	dir = open(place->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = fd != -1 && dir != -1 && fchmod(fd, 0666) == 0 &&
	    fchmod(dir, 0777) == 0;
	(void)close(fd);
	(void)close(dir);
	if (!ok) {
		remove_place(place);
	}
	return ok;
}

/* -- what is expected ------------------------------------------------------ */

static const char *
where(const struct sandbox_act *a, const struct sandbox_place *place)
{
	switch (a->where) {
	case AT_NOWHERE:
		return NULL;
	case AT_ETC:
		return "/etc";
	case AT_ROOT:
		return "/";
	case AT_PROC:
		return "/proc";
	case AT_DEV:
		return "/dev";
	case AT_PLACE:
		return place->dir;
	case AT_ABOVE:
		return place->above;
	}
	return NULL;
}

/* Is `dir' below a path that the request leaves open? */
static bool
is_open(const struct sandbox_request *rq, const char *dir, bool writes)
{
	size_t i, n;

	for (i = 0; i < rq->npaths; i++) {
		n = strlen(rq->paths[i].path);
		while (n > 0 && rq->paths[i].path[n - 1] == '/') {
			n--;
		}
		if (strncmp(rq->paths[i].path, dir, n) == 0 &&
		    (dir[n] == '/' || dir[n] == '\0') &&
		    (rq->paths[i].writable || !writes)) {
			return true;
		}
	}
	return false;
}

static bool
may(const struct sandbox_request *rq, const struct sandbox_act *a,
    const struct sandbox_place *place)
{
	const struct sandbox_profile *p = sandbox_profile(rq->program);
	const char *dir = where(a, place);

#ifdef VEREDUS_DEBUG_WALLS
	return true; /* the laxer walls are not judged */
#endif
	if ((a->allowed & (1u << rq->program)) != 0) {
		return true;
	}
	return dir != NULL && p->files == SF_PATHS &&
	    (is_open(rq, dir, a->writes) || sandbox_landlock_abi() == 0);
}

/* -- trying ---------------------------------------------------------------- */

static _Noreturn void
try_in_child(const struct probe *pr, const struct sandbox_act *a, int answer)
{
	char words[256];
	int result;

	sandbox_walls(pr->rq, pr->id, words, sizeof(words));
	result = a->try(&pr->place) == -1 ? errno : 0;
	(void)!write(answer, &result, sizeof(result));
	_exit(0);
}

static int
try_act(const struct probe *pr, const struct sandbox_act *a)
{
	int fds[2], status = 0, result = NO_ANSWER;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) == -1) {
		return NO_ANSWER;
	}
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		try_in_child(pr, a, fds[1]);
	}
	(void)close(fds[1]);
	if (pid > 0) {
		if (read(fds[0], &result, sizeof(result)) !=
		    sizeof(result)) {
			result = NO_ANSWER;
		}
		while (waitpid(pid, &status, 0) == -1 && errno == EINTR) {
		}
		if (result == NO_ANSWER && WIFSIGNALED(status) &&
		    WTERMSIG(status) == SIGSYS) {
			result = KILLED;
		}
	}
	(void)close(fds[0]);
	return result;
}

/* By a wall, or by the kernel's look at who we are; an error about the
   arguments says that the act got through. */
static bool
is_denial(int result)
{
	return result == KILLED || result == EPERM || result == EACCES ||
	    result == ENOENT || result == ENOSYS || result == EAGAIN;
}

static const char *
result_name(int result)
{
	const char *name;

	if (result == 0) {
		return "DONE";
	}
	if (result < 0) {
		return result == KILLED ? "KILLED" : "NO_ANSWER";
	}
	name = strerrorname_np(result);
	return name != NULL ? name : "UNKNOWN";
}

/* Returns whether a wall was broken. */
static bool
judge(const struct sandbox_act *a, int result, bool allowed)
{
	if (!allowed && !is_denial(result)) {
		log_error("wall_probe: BREACH act=%s result=%s expected=denied",
		    a->name, result_name(result));
		return true;
	}
	log_info("wall_probe: act=%s result=%s expected=%s", a->name,
	    result_name(result), allowed ? "allowed" : "denied");
	return false;
}

/* One act; the place is made anew when it has left its traces. */
static bool
probe_act(struct probe *pr, const struct sandbox_act *a, unsigned *denied)
{
	int result;
	bool broken;

	(void)log_flush(); /* a child that cannot enter writes what it has */
	result = try_act(pr, a);
	*denied += is_denial(result) ? 1 : 0;
	broken = judge(a, result, may(pr->rq, a, &pr->place));
	if (a->writes && !is_denial(result)) {
		remove_place(&pr->place);
		if (!make_place(&pr->place)) {
			log_error("wall_probe: no place in /tmp: %s",
			    strerror(errno));
		}
	}
	return broken;
}

void
sandbox_probe(const struct sandbox_request *rq, struct sandbox_identity id)
{
	struct probe pr = { .rq = rq, .id = id };
	unsigned denied = 0, breaches = 0;
	size_t i;

	find_above(&pr.place, rq);
	if (!make_place(&pr.place)) {
		log_error("wall_probe: no place in /tmp: %s", strerror(errno));
		return;
	}
	for (i = 0; i < sandbox_nacts; i++) {
		breaches += probe_act(&pr, &sandbox_acts[i], &denied) ? 1 : 0;
	}
	remove_place(&pr.place);
	log_info("wall_probe: %zu acts, %u denied, %u breaches", sandbox_nacts,
	    denied, breaches);
	(void)log_flush();
}
