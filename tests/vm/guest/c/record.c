#include "record.h"

#include "check.h"
#include "clock.h"
#include "truth.h"

/* The request began after the resume. */
#define AFTER 1u
/* The request began before the snapshot and ended after the resume. */
#define CUT 4u

/* How many outputs of 32 bytes from before the snapshot are kept, and how many of a larger width accordingly. */
enum { BEFORE_KEPT = 512 };

/* Little-endian, as every machine this runs on. */
typedef struct header {
    uint32_t flags, index;
    uint64_t ticks;
} header;

static size_t before_kept(const recorder *log)
{
    size_t count = BEFORE_KEPT * 32 / log->width;
    return count == 0 ? 1 : count > BEFORE_KEPT ? BEFORE_KEPT : count;
}

/* Room for the sampled outputs, too. */
static size_t room(const recorder *log)
{
    return log->keep + log->keep / 2 + 2;
}

static size_t record_size(const recorder *log)
{
    return sizeof(header) + log->width;
}

/* Memory that the loop will find touched. */
static unsigned char *touched(size_t size)
{
    unsigned char *memory = malloc(size);
    CHECK(memory != NULL);
    memset(memory, 0xa5, size);
    return memory;
}

void recorder_make(recorder *log, const char *stream, size_t width, size_t keep)
{
    memset(log, 0, sizeof *log);
    CHECK(strlen(stream) < sizeof log->stream);
    strcpy(log->stream, stream);
    log->width = width;
    log->keep = keep;
    log->output = touched(width);
    log->before = touched(before_kept(log) * record_size(log));
    log->kept = touched(room(log) * record_size(log));
}

static void write_down(const recorder *log, unsigned char *at, const header *head)
{
    memcpy(at, head, sizeof *head);
    memcpy(at + sizeof *head, log->output, log->width);
}

static void keep_output(recorder *log, const header *head, int sampled)
{
    size_t size = record_size(log);
    if (!(head->flags & (AFTER | CUT))) {
        write_down(log, log->before + log->asked_before++ % before_kept(log) * size, head);
        return;
    }
    log->asked_after += !(head->flags & CUT);
    /* A request that straddles the snapshot is kept beside the others: it is no evidence of what came after. */
    if ((head->flags & CUT || log->asked_after <= log->keep || sampled) && log->kept_count < room(log))
        write_down(log, log->kept + log->kept_count++ * size, head);
}

int recorder_ask(recorder *log, generator *ask, void *state, int sampled)
{
    header head = {truth_clone() ? AFTER : 0, log->index++, clock_ticks()};
    int error = ask(state, log->output, log->width);
    if (head.flags == 0 && truth_clone() != 0)
        head.flags = CUT;
    if (error == 0) {
        keep_output(log, &head, sampled);
    } else {
        log->errors++;
        log->last_error = error;
    }
    return head.flags != 0;
}

int recorder_is_full(const recorder *log)
{
    return log->asked_after + log->errors >= log->keep;
}

static void write_frame(const char *worker, const char *stream, const char *kind, size_t width, size_t length)
{
    CHECK(printf("frame %s %s %s %zu %zu\n", worker, stream, kind, width, length) > 0);
}

static void write_bytes(const void *bytes, size_t length)
{
    CHECK(fwrite(bytes, 1, length, stdout) == length);
}

void recorder_write(const recorder *log, const char *worker)
{
    char stream[sizeof log->stream + 16], summary[256];
    size_t ring = before_kept(log);
    size_t before = (log->asked_before < ring ? log->asked_before : ring) * record_size(log);
    size_t kept = log->kept_count * record_size(log);
    write_frame(worker, log->stream, "records", log->width, before + kept);
    write_bytes(log->before, before);
    write_bytes(log->kept, kept);
    snprintf(stream, sizeof stream, "%s/summary", log->stream);
    snprintf(summary, sizeof summary, "asked=%u\nasked_after=%zu\nerrors=%zu\nlast_error=%d\n", log->index,
             log->asked_after, log->errors, log->last_error);
    write_text(worker, stream, summary);
}

void write_text(const char *worker, const char *stream, const char *text)
{
    write_frame(worker, stream, "text", 0, strlen(text));
    write_bytes(text, strlen(text));
}
