/* help.c: --help and --version, for terminals of 80 columns. */
#include "boot.h"

#include <event2/event.h>
#include <openssl/crypto.h>
#include <string.h>

enum { WIDTH = 79, COLUMN = 27 };

/* Words of `text` from column `at` on; further lines begin at COLUMN. */
static void wrapped(FILE *out, size_t at, const char *text)
{
    while (*text) {
        size_t n = strcspn(text, " ");
        if (at > COLUMN && at + 1 + n > WIDTH) {
            fprintf(out, "\n%*s", COLUMN, "");
            at = COLUMN;
        } else if (at > COLUMN) {
            fputc(' ', out);
            at++;
        }
        fprintf(out, "%.*s", (int)n, text);
        at += n;
        text += n;
        text += strspn(text, " ");
    }
    fputc('\n', out);
}

static void print_flag(FILE *out, const struct flag *f)
{
    char name[80], help[320];
    int n = snprintf(name, sizeof(name), "  --%s%s", f->name, f->type == FLAG_BOOL ? "" : " VALUE");
    if (f->alias)
        snprintf(name + n, sizeof(name) - (size_t)n, ", %s%.*s", strcspn(f->alias, "|") == 1 ? "-" : "--",
                 (int)strcspn(f->alias, "|"), f->alias);
    snprintf(help, sizeof(help), "%s%s%s%s", f->help, f->env ? " [$" : "", f->env ? f->env : "",
             f->env ? "]" : "");
    char *bar = strchr(help, '|');
    if (bar)
        memcpy(bar, "]", 2);
    size_t width = strlen(name);
    if (width + 1 >= COLUMN)
        fprintf(out, "%s\n%*s", name, COLUMN, "");
    else
        fprintf(out, "%-*s", COLUMN, name);
    wrapped(out, COLUMN, help);
}

static void print_flags(FILE *out, unsigned where)
{
    for (size_t i = 0; i < flag_count; i++)
        if ((flag_table[i].where & where) && !flag_table[i].hidden)
            print_flag(out, &flag_table[i]);
}

static void print_use(FILE *out, const char *usage, const char *help)
{
    char text[100];
    snprintf(text, sizeof(text), "  culvert %s", usage);
    if (strlen(text) + 1 >= COLUMN)
        fprintf(out, "%s\n%*s%s\n", text, COLUMN, "", help);
    else
        fprintf(out, "%-*s%s\n", COLUMN, text, help);
}

void help_program(FILE *out)
{
    fputs("culvert - the connector of a Cloudflare Tunnel, small, with modules\n\n", out);
    print_use(out, "--config FILE", "Connect a tunnel, all settings from an ini");
    print_use(out, "--check FILE", "Tell whether an ini is right");
    for (size_t i = 0; i < word_count; i++)
        print_use(out, word_table[i].usage, word_table[i].help);
    fputs("\nFlags win over TUNNEL_* variables over the ini over defaults.\n\nFLAGS\n", out);
    print_flags(out, FLAG_OWN);
    fputs("\nMore: culvert tunnel --help, culvert tunnel run --help\n", out);
}

void help_tunnel(FILE *out)
{
    fputs("culvert tunnel [TUNNEL FLAGS] run [RUN FLAGS]\n\n"
          "Connects a tunnel that is managed in the dashboard. These flags stand before\n"
          "the word run; those of culvert tunnel run --help behind it.\n\n"
          "TUNNEL FLAGS\n",
          out);
    print_flags(out, FLAG_TUNNEL);
    fputs("\nFLAGS THAT MAY STAND ANYWHERE\n", out);
    print_flags(out, FLAG_OWN);
}

void help_run(FILE *out)
{
    fputs("culvert tunnel [TUNNEL FLAGS] run [RUN FLAGS] [NAME]\n\n"
          "Connects a tunnel that is managed in the dashboard. It needs the tunnel's token;\n"
          "a NAME beside it is accepted and not used. Flags of culvert tunnel --help stand\n"
          "before the word run.\n\n"
          "RUN FLAGS\n",
          out);
    print_flags(out, FLAG_RUN);
}

void help_doctor(FILE *out)
{
    fputs("culvert doctor [FLAGS]\n\n"
          "Looks at what usually keeps a tunnel from coming up - configuration, token,\n"
          "files of secrets, clock, DNS, port 7844, certificates, the services behind the\n"
          "rules - and says how to mend it. Takes the flags of culvert tunnel and of run,\n"
          "registers nothing. Exit status 0: a tunnel could come up.\n\n"
          "FLAGS\n",
          out);
    print_flags(out, FLAG_DOCTOR | FLAG_OWN);
}

void help_order(FILE *out)
{
    fputs("culvert drain|ready|reload [FLAGS]\n\n"
          "Asks the culvert that runs here, at its metrics server: the address of\n"
          "--metrics, TUNNEL_METRICS or the ini, else ports 20241 to 20245.\n\n"
          "  drain   unregisters, lets requests finish, cuts what is left after --timeout\n"
          "          (else after the grace period). The process stays until SIGTERM.\n"
          "          Exit status 0: all have finished; 1: some were cut.\n"
          "  ready   Exit status 0: it serves visitors; 1: not, and why; --timeout waits.\n"
          "  reload  As SIGHUP. Exit status 0: in force; 1: refused, and why.\n\n"
          "Exit status 2: nobody answers there, or this was not allowed.\n\n"
          "FLAGS\n",
          out);
    print_flags(out, FLAG_ORDER | FLAG_OWN);
}

void version_print(FILE *out)
{
    fprintf(out, "culvert version %s (OpenSSL %s, libevent %s)\n", CV_VERSION,
            OpenSSL_version(OPENSSL_VERSION_STRING), event_get_version());
}
