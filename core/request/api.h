/* api.h: errors as the libraries of OpenAI's and Anthropic's APIs read them, by what the caller seems to speak. */
#ifndef REQUEST_API_H
#define REQUEST_API_H
#include "culvert/culvert.h"

enum api_shape { API_NONE, API_OPENAI, API_ANTHROPIC };

/* Anthropic's: the path …/v1/messages and below, the header anthropic-version, or x-api-key below …/v1/. OpenAI's: any
 * other path below …/v1/. Neither: a browser, or who knows. */
enum api_shape api_shape_of(const struct cv_req *);
/* cv_req_refuse() with a text that is there already. */
void api_refuse(struct cv_req *, int status, const char *code, struct cv_ms retry_after,
                struct cv_str message);
#endif
