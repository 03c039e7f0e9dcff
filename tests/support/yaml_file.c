/* yaml_file.c: YAML files as yyjson documents. */
#include "yaml_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <yaml.h>

struct reading {
    const char *path;
    yaml_document_t *from;
    yyjson_mut_doc *to;
};

static yyjson_mut_val *plain(struct reading *r, const char *text)
{
    char *end;
    if (!*text || strcmp(text, "~") == 0 || strcmp(text, "null") == 0)
        return yyjson_mut_null(r->to);
    if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0)
        return yyjson_mut_bool(r->to, *text == 't');
    errno = 0;
    long long number = strtoll(text, &end, 0);
    if (!*end && errno == 0)
        return yyjson_mut_sint(r->to, number);
    double real = strtod(text, &end);
    if (!*end && strpbrk(text, "0123456789"))
        return yyjson_mut_real(r->to, real);
    return yyjson_mut_strcpy(r->to, text);
}

static yyjson_mut_val *value(struct reading *r, int node);

static yyjson_mut_val *mapping(struct reading *r, const yaml_node_t *n)
{
    yyjson_mut_val *object = yyjson_mut_obj(r->to);
    for (const yaml_node_pair_t *pair = n->data.mapping.pairs.start; pair < n->data.mapping.pairs.top;
         pair++) {
        const yaml_node_t *key = yaml_document_get_node(r->from, pair->key);
        const char *name = key->type == YAML_SCALAR_NODE ? (const char *)key->data.scalar.value : NULL;
        if (!name || yyjson_mut_obj_get(object, name)) {
            fprintf(stderr, "%s:%zu: %s\n", r->path, key->start_mark.line + 1,
                    name ? "a key that is there already" : "a key that is no text");
            return NULL;
        }
        yyjson_mut_val *v = value(r, pair->value);
        if (!v)
            return NULL;
        yyjson_mut_obj_add(object, yyjson_mut_strcpy(r->to, name), v);
    }
    return object;
}

static yyjson_mut_val *sequence(struct reading *r, const yaml_node_t *n)
{
    yyjson_mut_val *array = yyjson_mut_arr(r->to);
    for (const yaml_node_item_t *item = n->data.sequence.items.start; item < n->data.sequence.items.top;
         item++) {
        yyjson_mut_val *v = value(r, *item);
        if (!v)
            return NULL;
        yyjson_mut_arr_append(array, v);
    }
    return array;
}

static yyjson_mut_val *value(struct reading *r, int node)
{
    const yaml_node_t *n = yaml_document_get_node(r->from, node);
    const char *text;
    switch (n->type) {
    case YAML_MAPPING_NODE: return mapping(r, n);
    case YAML_SEQUENCE_NODE: return sequence(r, n);
    case YAML_SCALAR_NODE:
        text = (const char *)n->data.scalar.value;
        return n->data.scalar.style == YAML_PLAIN_SCALAR_STYLE ? plain(r, text)
                                                               : yyjson_mut_strcpy(r->to, text);
    case YAML_NO_NODE: break;
    }
    return NULL;
}

/* One document of the file into the array. No document: false, and ended. */
static bool document(yaml_parser_t *parser, const char *path, yyjson_mut_doc *to, yyjson_mut_val *all,
                     bool *ended)
{
    yaml_document_t from;
    if (!yaml_parser_load(parser, &from)) {
        fprintf(stderr, "%s:%zu: %s\n", path, parser->problem_mark.line + 1, parser->problem);
        return false;
    }
    *ended = !yaml_document_get_root_node(&from);
    struct reading r = { .path = path, .from = &from, .to = to };
    yyjson_mut_val *v = *ended ? NULL : value(&r, 1); /* nodes are numbered from 1, the root */
    yaml_document_delete(&from);
    return v && yyjson_mut_arr_append(all, v);
}

yyjson_doc *yaml_file_read(const char *path)
{
    FILE *f = fopen(path, "re");
    if (!f) {
        perror(path);
        return NULL;
    }
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser))
        abort();
    yaml_parser_set_input_file(&parser, f);
    yyjson_mut_doc *to = yyjson_mut_doc_new(NULL);
    yyjson_mut_val *all = yyjson_mut_arr(to);
    yyjson_mut_doc_set_root(to, all);
    bool ended = false;
    while (document(&parser, path, to, all, &ended))
        continue;
    yyjson_doc *doc = ended ? yyjson_mut_doc_imut_copy(to, NULL) : NULL;
    yyjson_mut_doc_free(to);
    yaml_parser_delete(&parser);
    fclose(f);
    return doc;
}
