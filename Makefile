# Makefile: builds culvert, its modules and its tests. `make help` lists the targets.

VERSION := 0.1.0

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

# ---- where things go ------------------------------------------------------------------------------

prefix ?= /usr/local
bindir ?= $(prefix)/bin
libdir ?= $(prefix)/lib

B_address,undefined := build/asan-ubsan
B_thread            := build/tsan
B                   := $(if $(SAN),$(or $(B_$(SAN)),build/$(subst $(comma),-,$(SAN))),build)
comma               := ,

# ---- what is built --------------------------------------------------------------------------------

MODULES      := $(sort $(patsubst modules/%/,%,$(dir $(wildcard modules/*/*.c))))
CORE_SRC     := $(sort $(wildcard core/*.c core/*/*.c))
MODULE_SRC   := $(sort $(wildcard modules/*/*.c))
SUPPORT_SRC  := $(filter-out tests/support/suite.c,$(wildcard tests/support/*.c))
TEST_SRC     := $(sort $(wildcard tests/unit/*/*.c tests/unit/*/*/*.c tests/system/*.c))
SIM_SRC      := $(sort $(wildcard tests/edge_sim/*.c))
TOOL_SRC     := $(sort $(wildcard tests/demo/*.c tests/bench/*.c))
REFUSED_SRC  := $(sort $(wildcard tests/modules/*.c))
ALL_SRC      := $(CORE_SRC) $(MODULE_SRC) tests/support/suite.c $(SUPPORT_SRC) $(TEST_SRC) $(SIM_SRC) $(TOOL_SRC)

objects      = $(patsubst %.c,$(B)/obj/%.o,$(1))
CORE_OBJ     := $(filter-out $(B)/obj/core/main.o,$(call objects,$(CORE_SRC)))
PROGRAM      := $(if $(wildcard core/main.c),$(B)/culvert)
MODULE_SO    := $(MODULES:%=$(B)/modules/%.so)
TESTS        := $(B)/tests/culvert-tests
SIM          := $(if $(SIM_SRC),$(B)/edge_sim)
TOOLS        := $(addprefix $(B)/tests/,$(notdir $(TOOL_SRC:.c=)))
REFUSED_SO   := $(REFUSED_SRC:tests/modules/%.c=$(B)/tests/modules/%.so)

# ---- flags ----------------------------------------------------------------------------------------

PACKAGES := openssl libngtcp2 libngtcp2_crypto_ossl libnghttp2 libllhttp yyjson libevent_core libevent_extra \
            libevent_pthreads libcares libpcre2-8 libidn2 inih
DEPS_CFLAGS := $(shell pkg-config --cflags $(PACKAGES))
DEPS_LIBS   := $(shell pkg-config --libs $(PACKAGES))
DEPS_RPATH  := $(shell pkg-config --variable=libdir libcrypto)

CC       := $(if $(filter default,$(origin CC)),gcc,$(CC))
WARNINGS := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wwrite-strings \
            -Wvla -Wcast-align -Wundef -Wformat=2 -Wimplicit-fallthrough -Wnull-dereference
HARDEN   := -fstack-protector-strong -fstack-clash-protection
HARDEN   += $(if $(findstring x86_64,$(shell $(CC) -dumpmachine)),-fcf-protection)
HARDEN   += $(if $(SAN),,-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=3)
SANITIZE := $(if $(SAN),-fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer)

CFLAGS   ?= -O2 -g
CPPFLAGS += -D_GNU_SOURCE -Icore/include -Icore
COMPILE   = $(CC) -std=gnu17 $(CPPFLAGS) $(DEPS_CFLAGS) -fvisibility=hidden -pthread $(HARDEN) $(SANITIZE) \
            $(WARNINGS) $(CFLAGS)
LINK      = $(CC) -pthread $(SANITIZE) $(CFLAGS) $(LDFLAGS) -Wl,-z,relro,-z,now,-z,noexecstack \
            -Wl,--disable-new-dtags,-rpath,$(DEPS_RPATH)
# One libssl in the process: the program itself loads it, so that every library after it finds that one.
LIBS      = -Wl,--no-as-needed -L$(DEPS_RPATH) -lssl -lcrypto -Wl,--as-needed $(DEPS_LIBS)
EXPORTS   = $(if $(wildcard core/culvert.syms),-Wl$(comma)--dynamic-list=core/culvert.syms)
WERROR    = $(if $(filter true,$(CI)),-Werror)

# ---- recipes --------------------------------------------------------------------------------------

Q   := $(if $(V),,@)
say  = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

.PHONY: all test clean
all: $(PROGRAM) $(MODULE_SO)

$(B)/obj/modules/% $(B)/obj/tests/modules/%: PIC := -fPIC
$(B)/obj/core/main.o $(B)/obj/core/boot/%: CPPFLAGS += -DCV_VERSION='"$(VERSION)"' \
    -DCV_MODULE_DIR='"$(libdir)/culvert/modules"'
$(B)/obj/tests/%: CPPFLAGS += -Imodules -Itests/support -DSUITE_BUILD='"$(B)"'

$(B)/obj/%.o: %.c Makefile
	$(call say,CC,$<)
	$(Q)mkdir -p $(@D)
	$(Q)$(COMPILE) $(or $(PIC),-fPIE) $(WERROR) -MMD -MP -c -o $@ $<

$(B)/culvert: $(call objects,core/main.c) $(CORE_OBJ)
	$(call say,LINK,$@)
	$(Q)$(LINK) -pie $(EXPORTS) -o $@ $^ $(LIBS)

define module_rule
$(B)/modules/$(1).so: $(call objects,$(wildcard modules/$(1)/*.c))
endef
$(foreach m,$(MODULES),$(eval $(call module_rule,$(m))))
$(MODULE_SO):
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -shared -o $@ $^ -Wl,--as-needed -L$(DEPS_RPATH) $(DEPS_LIBS)

$(B)/tests/modules/%.so: $(B)/obj/tests/modules/%.o
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -shared -o $@ $^

# Programs beside culvert take from the core what they need, so it is an archive to them.
$(B)/libparts.a: $(CORE_OBJ) $(call objects,$(SUPPORT_SRC))
	$(call say,AR,$@)
	$(Q)mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(B)/edge_sim: $(call objects,$(SIM_SRC)) $(B)/libparts.a
	$(call say,LINK,$@)
	$(Q)$(LINK) -pie -o $@ $^ $(LIBS)

define tool_rule
$(B)/tests/$(basename $(notdir $(1))): $(call objects,$(1)) $(B)/libparts.a
endef
$(foreach t,$(TOOL_SRC),$(eval $(call tool_rule,$(t))))
$(TOOLS):
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -pie -o $@ $^ $(LIBS)

$(TESTS): $(call objects,tests/support/suite.c $(SUPPORT_SRC) $(TEST_SRC) $(MODULE_SRC)) $(CORE_OBJ)
	$(call say,LINK,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(LINK) -pie $(EXPORTS) -o $@ $^ $(LIBS) -lcunit

test: all $(TESTS) $(SIM) $(TOOLS) $(REFUSED_SO)
	$(Q)$(TESTS)

clean:
	rm -rf build

-include $(patsubst %.c,$(B)/obj/%.d,$(ALL_SRC) $(REFUSED_SRC))
