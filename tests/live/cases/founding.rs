//! The founding case: a real dockerd, the real docuum and the real Docker CLI of Debian 12, whose Go runtime calls
//! `setrlimit`.

use crate::bed::Bed;

use super::Case;

pub const CASES: &[Case] =
    &[Case::new("founding::docuum", docuum).only_on(&["bookworm"]).with_packages("docker.io")];

const UNIT: &str = include_str!("docuum.service");

fn docuum(bed: &Bed) {
    assert!(
        bed.exec(&["test", "-x", "/run/ut/docuum"]).status == 0,
        "docuum is not installed: .ci/run does it"
    );
    bed.write_file(
        "/etc/default/docker",
        "DOCKER_OPTS=--bridge=none --iptables=false --ip6tables=false --ip-forward=false --ip-masq=false \
         --storage-driver=vfs\n",
    );
    bed.run(&["ln", "-sf", "/run/ut/docuum", "/usr/bin/docuum"]);
    bed.install_unit("docuum.service", UNIT);
    bed.run(&["systemctl", "start", "docker", "docuum"]);
    bed.wait_until("docker is killed twice", |bed| bed.seccomp_records("docker").len() >= 2);
    assert_eq!(bed.show("docuum.service", "ActiveState"), "active");
    assert_eq!(bed.show("docuum.service", "NRestarts"), "0");
    let before = bed.tree("/etc/systemd/system");

    let output = bed.unitfix(&["docuum.service", "--apply", "--yes", "--observe", "7"]);
    assert_eq!(output.status, 0, "{output:?}");
    let said = &output.stdout;
    for expected in [
        "docker (child of docuum)",
        "because  /etc/systemd/system/docuum.service:36:31\n",
        "             SystemCallFilter=~@privileged @resources\n\
         \x20                                          ^^^^^^^^^^ @resources contains setrlimit\n",
        "Repair: allow setrlimit (1 call more; 12 fewer than taking @resources out of the deny list)\n  \
         adds no power: prlimit64, which can do the same, is already allowed\n",
        "+++ /etc/systemd/system/docuum.service.d/zz-unitfix.conf\n",
        "docker was killed for calling setrlimit.\n",
        "Repaired: docuum.service ran for 7 s and no call of it was denied.",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
    let drop_in = bed.read_file("/etc/systemd/system/docuum.service.d/zz-unitfix.conf");
    assert!(drop_in.ends_with("\n[Service]\nSystemCallFilter=setrlimit\n"), "{drop_in}");
    bed.wait_until("docuum listens", |bed| {
        let own = bed.journal(&["--unit=docuum.service", "--since=-20s"]);
        own.iter().any(|e| e["MESSAGE"].as_str().is_some_and(|m| m.contains("Listening for Docker events")))
    });

    let output = bed.unitfix(&["revert", "docuum.service", "--yes"]);
    assert_eq!(output.status, 0, "{output:?}");
    assert_eq!(bed.tree("/etc/systemd/system"), before, "reverted byte for byte");
    bed.run(&["rm", "/usr/bin/docuum"]);
}
