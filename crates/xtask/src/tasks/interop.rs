//! The program with other programs: SIP clients, Prometheus, Kamailio, Twilio's clients, hosts in C.

use crate::needs::{
    BARESIP, CARGO_C, CHROMEDRIVER, CHROMIUM, CURL, CXX, DPKG_DEV, ETCD, ETCDCTL, IP, IPTABLES,
    KAMAILIO, LIBSSL, MAKE, NODE, NPM, Need, OPENSSL, PKG_CONFIG, PROMETHEUS, PROTOC, PYTHON, SIPP,
    SIPSAK, TASKSET, VALGRIND,
};
use crate::task::{Step, Task, run};

/// Builds the program once for all tasks of this group.
const PROGRAM: Step = run("cargo build --locked --release -p sip-authz-cli --features tls,etcd");
/// Builds the load tool.
const LOAD: Step = run("cargo build --locked --release -p sip-authz-bench --bin load");

/// Builds the C library. Its folder is its own: builds of cargo-c and of cargo replace each other.
const C_LIBRARY: Step =
    run("cargo cinstall --locked --release -p sip-authz-capi --prefix {target}/capi \
         --target-dir {target}/cargo-c");
/// Builds the module of Kamailio.
const MODULE: Step =
    run("kamailio/build.sh --prefix {target}/capi --output {target}/kamailio/authz.so");

/// Debug information of large trees takes long to write.
const NO_DEBUG: &[(&str, &str)] = &[("CARGO_PROFILE_DEV_DEBUG", "0")];
/// Builds the edge on rsipstack.
const ON_RSIPSTACK: Step = Step::Run {
    env: NO_DEBUG,
    words: "cargo build --locked --manifest-path examples/rsipstack/Cargo.toml \
            --target-dir {target}/examples",
};
/// Builds the edge on ezk.
const ON_EZK: Step = Step::Run {
    env: NO_DEBUG,
    words: "cargo build --locked --manifest-path examples/ezk/Cargo.toml --target-dir {target}/examples",
};
/// Builds the edge on rvoip.
const ON_RVOIP: Step = Step::Run {
    env: NO_DEBUG,
    words: "cargo build --locked --manifest-path examples/rvoip/Cargo.toml \
            --target-dir {target}/examples",
};

/// The tasks of this group.
pub(crate) const TASKS: &[Task] = &[
    Task {
        name: "sipp",
        about: "Call through the program with sipp and count the answers",
        needs: &[SIPP, PROTOC],
        steps: &[PROGRAM, run("crates/acceptance/interop/run.sh {target}/release/sip-authz")],
        ..Task::BARE
    },
    Task {
        name: "stack-rsipstack",
        about: "Call through the example edge on rsipstack with sipp",
        details: "By digest and address, over UDP and TCP, with lists that are read again. Counts the lines of
the edge that ask the library, and compares them with docs/guide/stacks.md.",
        needs: &[SIPP, PYTHON],
        steps: &[
            ON_RSIPSTACK,
            run("python3 crates/acceptance/interop/stacks/stacks.py {target}/examples/debug rsipstack"),
        ],
        ..Task::BARE
    },
    Task {
        name: "stacks",
        about: "Call through the example edges on all stacks, as stack-rsipstack",
        details: "The stacks are rsipstack, ezk and rvoip. The first build takes minutes.",
        needs: &[SIPP, PYTHON],
        steps: &[
            ON_RSIPSTACK,
            ON_EZK,
            ON_RVOIP,
            run("python3 crates/acceptance/interop/stacks/stacks.py {target}/examples/debug \
                 rsipstack ezk rvoip"),
        ],
        ..Task::BARE
    },
    Task {
        name: "prometheus",
        usage: "[PICTURE.png]",
        about: "Scrape the program under load and compare with the load tool",
        details: "Also asks Prometheus the queries of the dashboard and of the alerts.
PICTURE.png: write a picture of the dashboard (needs matplotlib from PyPI).",
        needs: &[PROMETHEUS, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            LOAD,
            run("crates/acceptance/metrics/run.sh {target}/release/sip-authz {target}/release/load \
                 {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "kamailio",
        usage: "[SECONDS] [ROUNDS]",
        default: "3 3",
        about: "Measure requests a second beside Kamailio on one core each",
        details: "SECONDS: the time of each measurement (default: 3). ROUNDS: default 3. Fails if an answer
is wrong, or if fewer than MIN_RATIO (default: 2) times as many digests are answered.
Needs two cores.",
        needs: &[KAMAILIO, TASKSET, PYTHON, PROTOC],
        steps: &[run("crates/bench/kamailio/run.sh {args}")],
    },
    Task {
        name: "kamailio-cost",
        usage: "[SECONDS] [ROUNDS]",
        default: "3 3",
        about: "Measure what the module of Kamailio costs beside its own modules",
        details: "With one worker, in turn: Kamailio's own modules, the module authz with a decision service, and with
a decision process of its own. All servers of a measurement share a core. SECONDS: the time of
each measurement (default: 3). ROUNDS: default 3. Fails if an answer is wrong. Needs two cores,
and downloads the source package of Kamailio.",
        needs: &[KAMAILIO, CARGO_C, DPKG_DEV, MAKE, PKG_CONFIG, TASKSET, PYTHON, PROTOC],
        steps: &[
            C_LIBRARY,
            MODULE,
            run("crates/bench/kamailio/run.sh --module {target}/kamailio/authz.so {args}"),
        ],
    },
    Task {
        name: "kamailio-module",
        usage: "[CALLS] [--only PART,...]",
        about: "Call through Kamailio with the module authz",
        details: "CALLS: calls with sipp in each of the load tests (default: 500). PART: load, restart, values,
late, refused, reload or recipes; default: all. Downloads the source package of Kamailio.",
        needs: &[KAMAILIO, SIPP, CARGO_C, DPKG_DEV, MAKE, PKG_CONFIG, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            C_LIBRARY,
            MODULE,
            run("python3 crates/acceptance/interop/kamailio_module/kamailio_module.py \
                 {target}/release/sip-authz {target}/kamailio/authz.so {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "soak",
        usage: "[SECONDS]",
        default: "600",
        about: "Send twice the load that the program can answer; watch its memory",
        details: "Callers that were accepted before must get their answers. SECONDS: default 600. Fails if
more than MAX_LOST percent (default: 1) get none in time. Needs two cores.",
        needs: &[TASKSET, PROTOC],
        steps: &[run("crates/bench/soak.sh {args}")],
    },
    Task {
        name: "decide-cost",
        usage: "[SECONDS]",
        default: "3",
        about: "Measure the time and the capacity of the decision service",
        details: "By frames over Unix and TCP, and over HTTP. SECONDS: the time of each of 18 measurements
(default: 3). Fails if an answer is wrong. Needs two cores.",
        needs: &[TASKSET, PROTOC],
        steps: &[run("crates/bench/decide/run.sh {args}")],
    },
    Task {
        name: "recent",
        usage: "[N]...",
        default: "0 16384",
        about: "Measure what recent decisions cost: instructions and memory",
        details: "N: the values of --recent whose memory is measured. Fails if an accepted request, a
challenge or a refusal of a flood takes more than 5 % more instructions.",
        needs: &[VALGRIND, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("crates/bench/recent/instructions.py {target}/release/sip-authz"),
            run("crates/bench/recent/memory.py {target}/release/sip-authz {args}"),
        ],
    },
    Task {
        name: "docs-commands",
        usage: "[--list]",
        about: "Run the commands of README and docs",
        details: "Commands that cannot run here are listed with the reason; --list runs nothing.",
        needs: &[SIPSAK, CURL, OPENSSL, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("crates/acceptance/docs-commands.py {target}/release/sip-authz {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "second-client",
        about: "Call through the program with PJSIP and sippy",
        details: "Needs x86-64 Linux and Python 3.10 to 3.12. PYTHON names another interpreter than python3.",
        needs: &[Need::PythonVenv, OPENSSL, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/second_client/run.sh {target}/release/sip-authz \
                 {target}/venv/second-client"),
        ],
        ..Task::BARE
    },
    Task {
        name: "clients",
        usage: "[OPTION]...",
        about: "Call with seven SIP clients under each policy; write docs/clients.md",
        details: "--check: compare with docs/clients.md and write nothing. --print: print the table only.
--only NAME,... and --without NAME,...: choose clients, for example --without linphone.
linphone needs Debian's linphone-cli (many packages), which `setup` does not install. Needs
x86-64 Linux and Python 3.11 or 3.12. PYTHON names another interpreter than python3.",
        needs: &[BARESIP, SIPP, SIPSAK, Need::PythonVenv, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/clients/run.sh clients {target}/release/sip-authz \
                 {target}/venv/clients {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "registrars",
        usage: "[--only NAME,...]",
        default: "--only baresip,PJSIP",
        about: "Call with phones that are registered at Kamailio",
        details: "NAME: baresip, PJSIP or linphone, which needs Debian's linphone-cli (default: all but
linphone). Needs what the task clients needs.",
        needs: &[BARESIP, KAMAILIO, Need::PythonVenv, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/clients/run.sh registrars {target}/release/sip-authz \
                 {target}/venv/clients {args}"),
        ],
    },
    Task {
        name: "redirect",
        about: "Dial a number through a redirect with baresip",
        needs: &[BARESIP, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("python3 crates/acceptance/interop/redirect/redirect.py {target}/release/sip-authz"),
        ],
        ..Task::BARE
    },
    Task {
        name: "forward",
        usage: "[--only PART,...]",
        about: "Call through the program to phones behind Kamailio",
        details: "Uses the recipe of docs/recipes. PART: udp, tcp or tls (baresip calls baresip over this
transport), sipp-udp or sipp-tcp (PRACK, UPDATE, INFO, re-INVITE); default: all.",
        needs: &[BARESIP, KAMAILIO, SIPP, OPENSSL, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("python3 crates/acceptance/interop/forward/forward.py {target}/release/sip-authz \
                 {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "registrations",
        usage: "[--only PART,...]",
        about: "Register phones behind a NAT through the program at Kamailio",
        details: "Uses the recipe of docs/recipes, in network namespaces. PART: udp, tcp or tls, the transport of
baresip and PJSIP outside; default: all. Needs root or user namespaces, x86-64 Linux and Python
3.10 to 3.12. PYTHON names another interpreter than python3.",
        needs: &[
            BARESIP, KAMAILIO, OPENSSL, IP, IPTABLES, TASKSET, Need::PythonVenv, PROTOC, Need::Pypi,
        ],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/registrations/run.sh {target}/release/sip-authz \
                 {target}/venv/second-client {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "why",
        usage: "[--check | --print] [--only CAUSE,...]",
        about: "Refuse calls on purpose; write what `why` prints to the docs",
        details: "Calls with sipp, baresip and sipsak. Fails if a call is not explained by its true cause, or
two are explained alike. --check: compare with docs/guide/causes.md and write nothing. --print:
print the table only. --only CAUSE,...: make these calls only, with --print.",
        needs: &[BARESIP, SIPP, SIPSAK, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("python3 crates/acceptance/interop/why/why.py {target}/release/sip-authz {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "registrations-load",
        usage: "[REGISTRATIONS] [SECONDS] [INTERVAL] [CALLS]",
        default: "10000 300 60 100",
        about: "Refresh many registrations beside calls; watch memory and time",
        details: "REGISTRATIONS phones of sipp refresh every INTERVAL seconds, beside CALLS calls a second to a
registered phone. Fails if one is lost, or if the memory of the program grows. Prints its
processor time. Needs network namespaces, as registrations does.",
        needs: &[
            KAMAILIO, SIPP, OPENSSL, IP, IPTABLES, TASKSET, PYTHON, PROTOC,
        ],
        steps: &[
            PROGRAM,
            run("python3 crates/acceptance/interop/registrations/load.py \
                 {target}/release/sip-authz {args}"),
        ],
    },
    Task {
        name: "forward-cost",
        usage: "[RATE] [CALLS] [ROUNDS]",
        default: "200 4000 3",
        about: "Compare the cost of forwarded calls with Kamailio",
        details: "Prints the processor time of each for a call. RATE: calls a second. Fails if a call fails. With
ONLY=ours Kamailio is left out, and the memory is printed.",
        needs: &[KAMAILIO, SIPP, PYTHON, PROTOC],
        steps: &[run("crates/bench/forward/run.sh {args}")],
    },
    Task {
        name: "behind-kamailio",
        about: "Call through Kamailio with the recipe of docs/recipes",
        details: "Callers have two addresses. Runs with the source in a header and in Via.",
        needs: &[KAMAILIO, SIPP, PYTHON, PROTOC],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/behind_kamailio/run.sh {target}/release/sip-authz"),
        ],
        ..Task::BARE
    },
    Task {
        name: "capi",
        usage: "[--renew]",
        about: "Install the C library, and test it from C, also under Valgrind",
        details: "Compares the header and the symbols, and builds the example of docs/c-library.md by pkg-config.
--renew: write the header.",
        needs: &[CARGO_C, CXX, LIBSSL, PKG_CONFIG, PROTOC, VALGRIND],
        steps: &[PROGRAM, run("crates/xtask/scripts/capi.sh {target} {args}")],
        ..Task::BARE
    },
    Task {
        name: "capi-sanitize",
        about: "Test the C library with AddressSanitizer in Rust and in C",
        needs: &[LIBSSL, Need::Nightly, PROTOC],
        steps: &[PROGRAM, run("crates/xtask/scripts/capi_sanitize.sh {target}")],
        ..Task::BARE
    },
    Task {
        name: "console",
        usage: "[--pictures]",
        about: "Use every view of the console with Chromium, axe-core and sipp",
        details: "--pictures: also write the screenshots in docs/images.",
        needs: &[
            CHROMIUM,
            CHROMEDRIVER,
            SIPP,
            NODE,
            NPM,
            Need::PythonVenv,
            PROTOC,
            Need::Pypi,
            Need::Npm,
        ],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/console/run.sh {target}/release/sip-authz \
                 {target}/venv/console {args}"),
        ],
        ..Task::BARE
    },
    Task {
        name: "rest-client",
        about: "Use every REST resource with the official Twilio Python client",
        details: "Also lists alerts of refused calls with the clients for Python and Node.",
        needs: &[SIPP, NODE, NPM, Need::PythonVenv, PROTOC, Need::Pypi, Need::Npm],
        steps: &[
            PROGRAM,
            // with the program's package and features, so that their crates are not built again
            run("cargo build --locked --release -p sip-authz-cli -p sip-authz-rest \
                 --features sip-authz-cli/tls,sip-authz-cli/etcd --example rest_server"),
            run("python3 -m venv {target}/venv/rest-client"),
            run("{target}/venv/rest-client/bin/pip install --quiet --disable-pip-version-check \
                 --root-user-action=ignore -r crates/acceptance/rest_client/requirements.txt"),
            run("{target}/venv/rest-client/bin/python crates/acceptance/rest_client/drive.py \
                 {target}/release/examples/rest_server"),
            run("npm install --silent --no-audit --no-fund --prefix {target}/npm/rest-client \
                 twilio@5.13.1"),
            run("{target}/venv/rest-client/bin/python crates/acceptance/rest_client/alerts.py \
                 {target}/release/sip-authz {target}/npm/rest-client/node_modules"),
        ],
        ..Task::BARE
    },
    Task {
        name: "end-to-end",
        about: "Change records with the Python client and call with sipp",
        needs: &[SIPP, Need::PythonVenv, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/end_to_end/run.sh {target}/release/sip-authz \
                 {target}/venv/rest-client"),
        ],
        ..Task::BARE
    },
    Task {
        name: "fleet",
        about: "Run edges on one etcd: TLS, passwords, a network that is cut",
        details: "The network is cut only where `unshare --net` is allowed.",
        needs: &[ETCD, ETCDCTL, OPENSSL, IP, Need::PythonVenv, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/fleet/run.sh {target}/release/sip-authz \
                 {target}/venv/rest-client"),
        ],
        ..Task::BARE
    },
    Task {
        name: "upgrade",
        about: "Upgrade three edges on one etcd from an earlier version, one by one",
        details: "Builds the earlier version from git. A shallow clone without it skips the test.",
        needs: &[ETCD, Need::PythonVenv, PROTOC, Need::Pypi],
        steps: &[
            PROGRAM,
            run("crates/acceptance/interop/upgrade/run.sh {target}/release/sip-authz \
                 {target}/venv/rest-client"),
        ],
        ..Task::BARE
    },
];
