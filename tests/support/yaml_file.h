/* yaml_file.h: YAML files as yyjson documents, for tests that look at manifests. */
#ifndef TESTS_YAML_FILE_H
#define TESTS_YAML_FILE_H

#include <yyjson.h>

/* All documents of a file as one array. NULL, and why on stderr: it cannot be read, is not YAML, has a key twice or a key
 * that is no text. Plain scalars are what Kubernetes takes them for: null, true, false, numbers (0444 is octal), text. */
yyjson_doc *yaml_file_read(const char *path);

#endif
