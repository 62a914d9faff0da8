//! Names as systemctl(1) understands them, asked of a running manager.

use crate::bed::Bed;

use super::Case;
use super::support::{FAILED, UNIT, assert_said, start_killed};

pub const CASES: &[Case] = &[Case::new("naming::as_systemctl", as_systemctl)];

const SOCKET: &str = "[Socket]\nListenStream=/run/v.sock\n";

fn as_systemctl(bed: &Bed) {
    start_killed(bed, FAILED);
    let units = [
        ("w.socket", format!("{SOCKET}Service=v.service\n")),
        ("each.socket", format!("{SOCKET}Accept=yes\n")),
        ("each@.service", "[Service]\nExecStart=/bin/true\n".to_owned()),
        ("stays@.service", "[Service]\nExecStart=/bin/sleep infinity\n".to_owned()),
        ("nightly.timer", "[Timer]\nOnCalendar=daily\nUnit=v.service\n".to_owned()),
        ("spool.path", "[Path]\nPathExists=/nowhere\nUnit=multi-user.target\n".to_owned()),
    ];
    for (name, text) in &units {
        bed.install_unit(name, text);
    }
    bed.run(&["ln", "-s", "/etc/systemd/system/v.service", "/etc/systemd/system/victim.service"]);
    bed.run(&["systemctl", "daemon-reload"]);
    bed.run(&["systemctl", "start", "stays@one", "stays@two"]);

    let said = |name: &str| {
        let output = bed.unitfix(&["policy", name, "setrlimit"]);
        (output.status, output.stderr)
    };
    let nothing = (0, String::new());
    assert_eq!(said(UNIT), nothing);
    assert_eq!(said("v"), nothing);
    let found = |words: &str| (0, format!("unitfix: {words}\n"));
    assert_eq!(said("victim.service"), found("victim.service is another name of v.service"));
    assert_eq!(said("w.socket"), found("w.socket starts v.service, which is meant"));
    assert_eq!(said("nightly.timer"), found("nightly.timer starts v.service, which is meant"));
    let failed = |words: &str| (2, format!("unitfix: {words}\n"));
    assert_eq!(
        said("each.socket"),
        failed(
            "each@.service is a template; each.socket starts an instance of it for each connection. Name an instance \
             of it, for example each@1.service"
        )
    );
    assert_eq!(
        said("spool.path"),
        failed(
            "spool.path starts multi-user.target, which is not a service: only services have a system call filter \
             that unitfix can repair; `unitfix scan` finds them"
        )
    );
    assert_eq!(
        said("stays@"),
        failed(
            "stays@.service is a template. Name one of its instances that are loaded: stays@one.service and \
             stays@two.service"
        )
    );
    assert_eq!(said("victm"), failed("there is no unit victm.service: did you mean victim.service?"));
    assert_eq!(
        said("stay@one"),
        failed("there is no unit stay@one.service: did you mean stays@one.service?")
    );
    assert_eq!(
        said("nothing-like-it"),
        failed("there is no unit nothing-like-it.service (systemctl list-unit-files shows those that exist)")
    );

    // and so does what repairs it
    let output = bed.unitfix(&["nightly.timer", "--apply", "--yes", "--observe", "1"]);
    assert_said(
        &output,
        0,
        &["nightly.timer starts v.service, which is meant", "Repaired: v.service ran for 1 s"],
    );
    assert_said(&bed.unitfix(&["status", "victim"]), 0, &["v.service  in place, seen to work"]);
    assert_said(&bed.unitfix(&["revert", "victim", "--yes"]), 0, &["Taken back: v.service"]);
    bed.run(&["systemctl", "stop", "stays@one", "stays@two"]);
    bed.run(&["rm", "/etc/systemd/system/victim.service"]);
}
