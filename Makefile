# Makefile: builds, checks and installs culvert. `make help` lists the targets.
#
# Files join the build by existing: core/**/*.c is the program, modules/NAME/*.c is modules/NAME.so, and the
# tests lie under tests/. What they need is found or installed first, by tools/deps.

VERSION := 0.1.0

prefix     ?= /usr/local
bindir     ?= $(prefix)/bin
libdir     ?= $(prefix)/lib
includedir ?= $(prefix)/include
datadir    ?= $(prefix)/share

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules --no-print-directory
ifeq ($(MAKELEVEL),0)
MAKEFLAGS += -j$(shell nproc)
endif

comma := ,

# Each kind of build has its own folder: build, build/asan-ubsan, build/tsan …
folder-address,undefined := build/asan-ubsan
folder-thread            := build/tsan
B := $(if $(SAN),$(or $(folder-$(SAN)),build/$(subst $(comma),-,$(SAN))),build)

# ---- dependencies ---------------------------------------------------------------------------------

# build/deps.mk says where the libraries are. make remakes it before anything else, then starts again.
ifneq ($(filter-out clean help image image-test,$(or $(MAKECMDGOALS),all)),)
include build/deps.mk
ifeq ($(wildcard $(DEPS_PREFIX)/lib),)
.PHONY: build/deps.mk
endif
endif

build/deps.mk: tools/deps tools/deps-prefix
	@tools/deps $@

# ---- what is built --------------------------------------------------------------------------------

MODULES     := $(sort $(patsubst modules/%/,%,$(dir $(wildcard modules/*/*.c))))
CORE_SRC    := $(sort $(filter-out core/main.c,$(wildcard core/*.c core/*/*.c)))
MODULE_SRC  := $(sort $(wildcard modules/*/*.c))
SUPPORT_SRC := $(sort $(filter-out tests/support/suite.c,$(wildcard tests/support/*.c)))
TEST_SRC    := tests/support/suite.c $(sort $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c tests/system/*.c))
SIM_SRC     := $(sort $(wildcard tests/edge_sim/*.c))
TOOL_SRC    := $(sort $(wildcard tests/demo/*.c tests/bench/*.c tests/pod/*.c))
FUZZ_SRC    := $(sort $(wildcard tests/fuzz/fuzz_*.c))
REFUSED_SRC := $(sort $(wildcard tests/modules/*.c))
SOURCES     := $(wildcard core/main.c) $(CORE_SRC) $(MODULE_SRC) $(SUPPORT_SRC) $(TEST_SRC) $(SIM_SRC) $(TOOL_SRC) \
               $(FUZZ_SRC) $(REFUSED_SRC)
HEADERS     := $(sort $(wildcard core/*.h core/*/*.h core/include/culvert/*.h modules/*/*.h tests/*/*.h tests/unit/*/*.h))

objects      = $(patsubst %.c,$(B)/obj/%.o,$(1))
PROGRAM     := $(if $(wildcard core/main.c),culvert)
SIM         := $(if $(SIM_SRC),$(B)/edge_sim)
TESTS       := $(B)/tests/culvert-tests
TOOLS       := $(addprefix $(B)/tests/,$(notdir $(TOOL_SRC:.c=)))
REFUSED     := $(REFUSED_SRC:%.c=$(B)/%.so)
FUZZERS     := $(patsubst tests/fuzz/fuzz_%.c,%,$(FUZZ_SRC))

# ---- flags ----------------------------------------------------------------------------------------

CC       := $(if $(filter default,$(origin CC)),gcc,$(CC))
CFLAGS   ?= -O2 -g
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
            -Wvla -Wcast-align -Wundef -Wformat=2 -Wimplicit-fallthrough -Wnull-dereference \
            -Wno-missing-field-initializers # what the row of a table leaves out is zero
HARDEN   := -fstack-protector-strong -fstack-clash-protection
HARDEN   += $(if $(filter x86_64,$(shell uname -m)),-fcf-protection)
HARDEN   += $(if $(filter aarch64,$(shell uname -m)),-mbranch-protection=standard)
HARDEN   += $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)

instrument-coverage := --coverage
instrument-fuzzer   := -fsanitize=address,undefined,fuzzer-no-link -fno-sanitize-recover=all
INSTRUMENT := $(if $(SAN),$(or $(instrument-$(SAN)),-fsanitize=$(SAN) -fno-sanitize-recover=all) -fno-omit-frame-pointer)

DEFINES := -D_GNU_SOURCE -DCV_VERSION='"$(VERSION)"' -DCV_MODULE_DIR='"$(libdir)/culvert/modules"'
PARSE   := -std=gnu17 $(DEFINES) -Icore/include -Icore $(CPPFLAGS) $(DEPS_CFLAGS)
COMPILE := $(CC) $(PARSE) -pthread $(HARDEN) $(INSTRUMENT) $(WARNINGS) $(CFLAGS)
LINK    := $(CC) -pthread $(INSTRUMENT) $(CFLAGS) $(LDFLAGS) -Wl,-z,relro,-z,now,-z,noexecstack,--as-needed
# One libssl in the process: the program itself loads it, before any library that would bring another.
LIBS    := -Wl,--no-as-needed $(DEPS_SSL) -Wl,--as-needed $(DEPS_LIBS) -lm
EXPORTS := $(if $(wildcard core/culvert.syms),-Wl$(comma)--dynamic-list=core/culvert.syms)
WERROR  := $(if $(filter true,$(CI)),-Werror)

# RPATH, not RUNPATH: it counts for the libraries of libraries too.
rpath    = $(if $(DEPS_PREFIX),-Wl$(comma)--disable-new-dtags$(comma)-rpath$(comma)'$(RPATH)')
RPATH    = $(DEPS_PREFIX)/lib
$(B)/stage/culvert:   RPATH = $$ORIGIN/$(shell realpath -m --relative-to=$(bindir) $(libdir)/culvert)
$(B)/stage/modules/%: RPATH = $$ORIGIN/..

# Other flags than last time compile everything again, other files link everything again.
FLAGS := $(COMPILE) | $(LINK) $(LIBS)
ifdef DEPS_LIBS
$(shell mkdir -p $(B))
ifneq ($(file <$(B)/flags),$(FLAGS))
$(file >$(B)/flags,$(FLAGS))
endif
ifneq ($(file <$(B)/files),$(SOURCES))
$(file >$(B)/files,$(SOURCES))
endif
endif

# ---- building -------------------------------------------------------------------------------------

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

.PHONY: all deps test check demo bench docs fuzz lint format cover install rootfs image image-test clean help
all: $(PROGRAM:%=$(B)/%) $(MODULES:%=$(B)/modules/%.so)  ## the program and its modules, in build/

# A module shows its one symbol. The program shows what core/culvert.syms lists: the linker sees to that.
$(B)/obj/modules/% $(B)/obj/tests/modules/%: PIC := -fPIC -fvisibility=hidden
$(B)/obj/tests/%: TEST_FLAGS = -Imodules -Itests/support -DSUITE_BUILD='"$(B)"'
$(B)/obj/tests/fuzz/%: TEST_FLAGS += -Wno-missing-prototypes $(if $(filter fuzzer,$(SAN)),,-DLLVMFuzzerTestOneInput=$(*F))

$(B)/obj/%.o: %.c $(B)/flags
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) $(TEST_FLAGS) $(or $(PIC),-fPIE) $(WERROR) -MMD -MP -c -o $@ $<

# It takes files in as they are.
$(B)/obj/modules/metrics_prom/assets.o: $(wildcard modules/metrics_prom/status/*)

define linked
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) $(1) $(rpath) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(2)
endef

$(B)/culvert $(B)/stage/culvert: $(call objects,core/main.c $(CORE_SRC)) $(wildcard core/culvert.syms) $(B)/files
	$(call linked,-pie $(EXPORTS),$(LIBS))

# A module takes the core's functions from the program that loads it.
$(foreach m,$(MODULES),$(eval $(B)/modules/$m.so $(B)/stage/modules/$m.so: $(call objects,$(wildcard modules/$m/*.c))))
$(MODULES:%=$(B)/modules/%.so) $(MODULES:%=$(B)/stage/modules/%.so): $(B)/files
	$(call linked,-shared,$(DEPS_LIBS) -Wl$(comma)--as-needed -lm)

# The test program holds the core, every module and the fuzz targets.
$(TESTS): $(call objects,$(CORE_SRC) $(MODULE_SRC) $(SUPPORT_SRC) $(TEST_SRC) $(FUZZ_SRC)) $(B)/obj/replays.o \
          $(wildcard core/culvert.syms) $(B)/files
	$(call linked,-pie $(EXPORTS),$(LIBS) -lcunit -lyaml)

# The programs beside it take from the same objects what they need.
$(B)/parts.a: $(call objects,$(CORE_SRC) $(MODULE_SRC) $(SUPPORT_SRC)) $(B)/files
	$(call say,AR,$@)
	$(Q)rm -f $@ && ar rcs $@ $(filter %.o,$^)

$(foreach t,$(TOOL_SRC),$(eval $(B)/tests/$(basename $(notdir $t)): $(call objects,$t)))
$(B)/edge_sim: $(call objects,$(SIM_SRC))
$(TOOLS) $(B)/edge_sim: $(B)/parts.a
	$(call linked,-pie,$(LIBS))

$(B)/tests/modules/%.so: $(B)/obj/tests/modules/%.o
	$(call linked,-shared)

# Tests start these.
$(TESTS): | $(SIM) $(TOOLS) $(REFUSED)

# ---- testing --------------------------------------------------------------------------------------

BUILT_FOR_TESTS := all $(TESTS) $(SIM) $(TOOLS) $(REFUSED) $(if $(SAN),,$(B)/rootfs)

# The thread sanitizer of gcc 12 wants addresses that are not spread too far.
run = $(if $(filter thread,$(SAN)),$$(setarch -R true 2>/dev/null && echo setarch -R))

deps:  ## install or fetch what is needed to build and test
	@tools/deps build/deps.mk

test: $(BUILT_FOR_TESTS)  ## all tests; T=NAME: those whose suite/test begins so; SAN=address,undefined or thread
	$(Q)tools/deps --peers
	$(Q)$(run) $(TESTS) $(T)

demo: all $(SIM) $(TOOLS)  ## a tunnel on this machine: edge, culvert and router, with a streamed answer
	$(Q)tests/demo/run $(B)

bench: all $(SIM) $(TOOLS)  ## load, memory and latency
	$(Q)tools/deps --tool h2load:nghttp2-client
	$(Q)tests/bench/run $(B)

docs: all  ## conf/culvert.full.ini, docs/options.md, docs/metrics.md and docs/man anew, from the program's tables
	$(Q)$(B)/culvert --options ini >conf/culvert.full.ini
	$(Q)$(B)/culvert --options markdown >docs/options.md
	$(Q)$(B)/culvert --options metrics >docs/metrics.md
	$(Q)mkdir -p docs/man
	$(Q)$(B)/culvert manual culvert >docs/man/culvert.8
	$(Q)$(B)/culvert manual culvert.ini >docs/man/culvert.ini.5
	$(Q)tools/alerts

cover:  ## the tests once more, and which lines they reach
	-$(Q)$(MAKE) SAN=coverage test
	$(Q)tools/cover build/coverage/obj

# Corpora are part of the tests: one replay for each fuzz target.
$(B)/replays.c: tests/support/replay.h $(B)/files
	$(Q)mkdir -p $(@D)
	$(Q){ echo '/* replays.c: written by make from tests/fuzz. */'; echo '#include "replay.h"'; \
	    for f in $(FUZZERS); do echo "REPLAY($$f)"; done; \
	    echo "SUITE(fuzz$(patsubst %,$(comma) TEST(replays_%),$(FUZZERS)));"; } >$@
$(B)/obj/replays.o: $(B)/replays.c $(B)/flags
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) -Itests/support -fPIE -MMD -MP -c -o $@ $<

FUZZ_SECONDS ?= 60
ifeq ($(SAN),fuzzer)
$(FUZZERS:%=$(B)/fuzz_%): $(B)/fuzz_%: $(B)/obj/tests/fuzz/fuzz_%.o $(B)/parts.a
	$(call linked,-pie -fsanitize=fuzzer,$(LIBS))
fuzz: $(FUZZERS:%=fuzz-%)
$(FUZZERS:%=fuzz-%): fuzz-%: $(B)/fuzz_%
	$(call say,FUZZ,$*)
	$(Q)mkdir -p $(B)/corpus/$* tests/fuzz/corpus/$*
	$(Q)$< -max_total_time=$(FUZZ_SECONDS) -verbosity=$(if $(V),1,0) -print_final_stats=1 \
	    -artifact_prefix=$(B)/$*- $(B)/corpus/$* tests/fuzz/corpus/$*
else
fuzz:  ## search for inputs that break a parser, FUZZ_SECONDS=60 each; fuzz-NAME: one
fuzz $(FUZZERS:%=fuzz-%):
	$(Q)tools/deps --tool clang:clang
	$(Q)tools/deps --tool $$(clang -print-file-name=libclang_rt.fuzzer-$$(uname -m).a):libclang-rt-dev
	$(Q)$(MAKE) SAN=fuzzer CC=clang $@
endif

# ---- checking -------------------------------------------------------------------------------------

check:  ## lint, then test
	$(Q)$(MAKE) lint
	$(Q)$(MAKE) test

FORMATTED := $(SOURCES) $(HEADERS)
TIDY      := $(SOURCES:%.c=$(B)/tidy/%)

lint: lint-format lint-rules lint-symbols lint-cppcheck lint-shell $(TIDY)  ## format, clang-tidy, cppcheck, shellcheck, exported symbols

.PHONY: lint-format lint-rules lint-symbols lint-cppcheck lint-shell lint-tools
lint-tools:
	$(Q)tools/deps --tool clang-format:clang-format clang-tidy:clang-tidy cppcheck:cppcheck shellcheck:shellcheck

lint-format: lint-tools
	$(call say,LINT,format)
	$(Q)clang-format --dry-run -Werror $(FORMATTED)

lint-rules: lint-tools
	$(call say,LINT,rules)
	$(Q)tools/lint rules $(FORMATTED)

lint-symbols: all
	$(call say,LINT,symbols)
	$(Q)tools/lint symbols $(B) gcc $(PARSE)

lint-shell: lint-tools
	$(call say,LINT,shell)
	$(Q)shellcheck $$(git grep -lE '^#!.*\bsh|^#!.*\bbash' -- . ':!*.c' ':!*.md')

lint-cppcheck: lint-tools
	$(call say,LINT,cppcheck)
	$(Q)cppcheck -q -j2 --error-exitcode=1 --inline-suppr --std=c11 --enable=warning,portability,performance \
	    --suppressions-list=tools/cppcheck.suppress --library=posix --library=tools/cppcheck.xml \
	    --include=/usr/include/$$(gcc -print-multiarch)/sys/queue.h \
	    -Icore/include -Icore -Imodules -Itests/support $(SOURCES)

$(B)/tidy/tests/%: TEST_FLAGS = -Imodules -Itests/support -DSUITE_BUILD='"$(B)"'
$(B)/tidy/%: %.c .clang-tidy $(HEADERS) | lint-tools
	$(call say,TIDY,$<)
	$(Q)mkdir -p $(@D)
	$(Q)clang-tidy --quiet $< -- $(PARSE) $(TEST_FLAGS) 2>/dev/null
	$(Q)touch $@

format:  ## lay out every source as .clang-format says
	$(Q)tools/deps --tool clang-format:clang-format
	$(Q)clang-format -i $(FORMATTED)

# ---- installing -----------------------------------------------------------------------------------

# The private libraries, if there are any, go along: the staged program looks for them beside its modules.
install: all $(PROGRAM:%=$(B)/stage/%) $(MODULES:%=$(B)/stage/modules/%.so)  ## into $(DESTDIR)$(prefix)
	$(call say,INST,$(DESTDIR)$(prefix))
	$(Q)install -d $(DESTDIR)$(bindir) $(DESTDIR)$(libdir)/culvert/modules $(DESTDIR)$(includedir)/culvert
	$(Q)install -m 755 $(B)/stage/culvert $(DESTDIR)$(bindir)/
	$(Q)install -m 644 $(MODULES:%=$(B)/stage/modules/%.so) $(DESTDIR)$(libdir)/culvert/modules/
	$(Q)install -m 644 $(wildcard core/include/culvert/*.h) $(DESTDIR)$(includedir)/culvert/
	$(Q)$(if $(DEPS_PREFIX),cp -P $(DEPS_PREFIX)/lib/*.so.* $(DESTDIR)$(libdir)/culvert/)
	$(Q)install -D -m 644 -t $(DESTDIR)$(datadir)/man/man8 docs/man/culvert.8
	$(Q)install -D -m 644 -t $(DESTDIR)$(datadir)/man/man5 docs/man/culvert.ini.5
	$(Q)cd $(DESTDIR)$(datadir) && mkdir -p bash-completion/completions zsh/site-functions fish/vendor_completions.d
	$(Q)$(B)/culvert completion bash >$(DESTDIR)$(datadir)/bash-completion/completions/culvert
	$(Q)$(B)/culvert completion zsh >$(DESTDIR)$(datadir)/zsh/site-functions/_culvert
	$(Q)$(B)/culvert completion fish >$(DESTDIR)$(datadir)/fish/vendor_completions.d/culvert.fish

rootfs: $(B)/rootfs  ## build/rootfs: all that a container of culvert holds

$(B)/rootfs: tools/rootfs $(PROGRAM:%=$(B)/stage/%) $(MODULES:%=$(B)/stage/modules/%.so)
	$(call say,ROOT,$@)
	$(Q)tools/rootfs $@ '$(DEPS_PREFIX)' $(filter-out $<,$^)

IMAGE ?= culvert:$(VERSION)
image:  ## the container image IMAGE=culvert:VERSION, with docker, podman or buildah, whichever is there
	$(Q)deploy/image $(IMAGE) --build-arg VERSION=$(VERSION)

image-test:  ## builds the image with buildah, over a Debian 13 that it makes itself, and looks into it
	$(Q)tests/image/run

clean:  ## remove build/
	rm -rf build

help:  ## this list
	@sed -nE 's/^([a-z-]+):[^#]*  ## (.*)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

-include $(patsubst %.c,$(B)/obj/%.d,$(SOURCES)) $(B)/obj/replays.d
