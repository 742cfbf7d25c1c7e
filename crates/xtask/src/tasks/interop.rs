//! The program with other programs: SIP clients, Prometheus, Kamailio, the Python client.

use crate::needs::{
    BARESIP, CURL, ETCD, ETCDCTL, IP, KAMAILIO, Need, OPENSSL, PROMETHEUS, PROTOC, PYTHON, SIPP,
    SIPSAK, TASKSET,
};
use crate::task::{Step, Task, run};

/// Builds the program once for all tasks of this group.
const PROGRAM: Step = run("cargo build --locked --release -p sip-authz-cli --features tls,etcd");
/// Builds the load tool.
const LOAD: Step = run("cargo build --locked --release -p sip-authz-bench --bin load");

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
        name: "soak",
        usage: "[SECONDS]",
        default: "600",
        about: "Send twice the load that the program can answer; watch its memory",
        details: "Callers that were accepted before must get their answers. SECONDS: default 600. Needs two
cores.",
        needs: &[TASKSET, PROTOC],
        steps: &[run("crates/bench/soak.sh {args}")],
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
        name: "rest-client",
        about: "Use every REST resource with the official Twilio Python client",
        needs: &[Need::PythonVenv, Need::Pypi],
        steps: &[
            run("cargo build --locked --release -p sip-authz-rest --example rest_server"),
            run("python3 -m venv {target}/venv/rest-client"),
            run("{target}/venv/rest-client/bin/pip install --quiet --disable-pip-version-check \
                 --root-user-action=ignore -r crates/acceptance/rest_client/requirements.txt"),
            run("{target}/venv/rest-client/bin/python crates/acceptance/rest_client/drive.py \
                 {target}/release/examples/rest_server"),
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
];
