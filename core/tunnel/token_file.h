/* token_file.h: a token that lies in a file, and the watch over it. Main thread. */
#ifndef CV_TUNNEL_TOKEN_FILE_H
#define CV_TUNNEL_TOKEN_FILE_H

#include "loop/loop.h"
#include "tunnel/token.h"

/* Content without white space around it. CV_E_IO: not readable, with the text of docs/protocol.md §2.2; CV_E_CONF: not a
 * token. */
enum cv_error token_file_read(const char *name, struct token *, struct cv_err *);

struct token_watch;
/* The file was written and holds a token, perhaps the same one; the callee takes it over. Files that are broken are logged, once for each
 * change, and otherwise not told. */
typedef void token_changed_fn(void *arg, struct token *take);
/* name is borrowed. age: gets the time of the file's last change; NULL: nobody looks. */
struct token_watch *token_watch_new(const struct cv_self *, const char *name, struct cv_series *age,
                                    token_changed_fn *, void *arg);
void token_watch_free(struct token_watch *); /* NULL is fine */
bool token_same(const struct token *, const struct token *);

#endif
