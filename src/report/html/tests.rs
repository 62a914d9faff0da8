use super::*;
use crate::evidence::{Untrusted, disturbs};
use crate::plan::{Amendment, Candidate, Proof, Rung};
use crate::policy::{Policy, tests::unit};
use crate::report::{CandidateRow, Deed, DenialRow, Forbids, Part, PolicyChange, RepairRow, Report};
use crate::report::{ScanReport, ScannedUnit, Step, TokenRow};
use crate::syscalls::Arch;

/// Names such as an attacker would choose.
const HOSTILE: [&str; 5] = [
    "</title></style><script>alert(1)</script>",
    "\" onmouseover=\"alert(1)",
    "'><img src=//example.org/x>",
    "\u{1b}[2J\u{202e}gnp.exe\u{7}\u{9b}",
    "&lt;b&#x3e;\n\r\0",
];

fn row(name: &str) -> DenialRow {
    DenialRow {
        call: "setrlimit".to_owned(),
        number: 160,
        architecture: Arch::X86_64,
        effect: "killed",
        program: Untrusted::new(name),
        exe: Some(Untrusted::new(format!("/usr/bin/{name}"))),
        parent: Some(Untrusted::new(name)),
        count: 3,
        first: Some(1_767_607_747_000_000),
        last: Some(1_767_607_847_000_000),
        attributed_because: None,
        arguments: vec![name.to_owned()],
        setting: None,
        stack: crate::blame::Stack::default(),
        package: None,
        policy: "kills".to_owned(),
        decided_by: Some(TokenRow {
            file: format!("/etc/{name}").into(),
            line: 1,
            column: 1,
            length: 4,
            text: name.to_owned(),
            caret: 0,
            words: name.to_owned(),
        }),
    }
}

fn unit_page(name: &str) -> String {
    let mut report = Report::new(name.to_owned());
    report.state = name.to_owned();
    report.denials = vec![row(name)];
    report.unattributed = vec![row(name)];
    report.diff = Some(format!("--- {name}\n+{name}\n"));
    report.verdict = Some(name.to_owned());
    report.course = vec![Step::now(Deed::Looked, name)];
    report.ending = format!("{name}\nUndo: unitfix revert {name}\n  | {name}");
    made(|pages| pages.of_unit(&report, 1_767_607_747_000_000))
}

fn scan_page(name: &str) -> String {
    let mut report = ScanReport::new();
    let part = Part { killed: 3, first: Some(1), last: Some(2), calls: vec![row(name)], ..Part::default() };
    report.units.push(ScannedUnit {
        unit: Untrusted::new(name),
        host: Some(Untrusted::new(name)),
        part,
        forbids: Forbids::Now,
        repair: Some(format!("unitfix {name}")),
        elsewhere: true,
        told_apart: true,
    });
    made(|pages| pages.of_scan(&report, 1_767_607_747_000_000))
}

/// A repair that was proven, and what it changes of a policy.
fn repair() -> (RepairRow, PolicyChange) {
    let groups = Groups::from_rules(252).unwrap();
    let lines = ["SystemCallFilter=~uname", "SystemCallFilter=~uname\nSystemCallFilter=uname"];
    let [before, after] = lines.map(|lines| Policy::evaluate(&unit(lines), &groups));
    let amendment = Amendment { allow: ["uname".to_owned()].into(), ..Amendment::default() };
    let mut candidate = Candidate::new(Rung::Exact, amendment, &before, &groups, &Rules::default());
    candidate.proof = Proof::Shown("it ran".to_owned());
    let row = RepairRow {
        leaves_no_filter: true,
        proposed: CandidateRow::from(&candidate),
        inexpressible: Vec::new(),
        soft: Vec::new(),
        spared: Vec::new(),
        look: Vec::new(),
        note: None,
        others: Vec::new(),
        refuted: Vec::new(),
    };
    (row, PolicyChange::between(&before, Some(&after), &groups))
}

fn made(make: impl Fn(&Pages) -> String) -> String {
    let (rules, groups) = (Rules::default(), Groups::from_rules(252).unwrap());
    make(&Pages { rules: &rules, groups: &groups, zone: TimeZone::UTC })
}

/// The names of the tags, each with its attributes; panics where the page is not well formed.
fn tags(page: &str) -> Vec<String> {
    const VOID: [&str; 4] = ["meta", "br", "wbr", "!DOCTYPE"];
    let (mut open, mut all, mut rest): (Vec<&str>, Vec<String>, &str) = (Vec::new(), Vec::new(), page);
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        // no attribute holds a > here
        let (tag, after) = rest.split_once('>').unwrap();
        assert_eq!(tag.matches('"').count() % 2, 0, "<{tag}>");
        rest = after;
        if let Some(name) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
            continue;
        }
        all.push(tag.to_owned());
        let name = tag.split_whitespace().next().unwrap();
        if name == "style" {
            rest = rest.split_once("</style>").unwrap().1;
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?} do not end");
    all
}

#[test]
fn no_name_gets_out_of_its_place() {
    let harmless: Vec<Vec<String>> = [unit_page("a"), scan_page("a")].iter().map(|page| tags(page)).collect();
    for name in HOSTILE {
        for (page, plain) in [unit_page(name), scan_page(name)].iter().zip(&harmless) {
            assert!(!page.chars().any(disturbs), "{name:?}");
            let names = |tags: &[String]| {
                tags.iter().map(|tag| tag.split_whitespace().next().unwrap().to_owned()).collect::<Vec<_>>()
            };
            // ends of lines in a name may make lines of a text that has some, and long names may be broken
            let other = |tag: &String| !["p", "span", "wbr"].contains(&tag.as_str());
            let markup: Vec<String> = names(&tags(page)).into_iter().filter(other).collect();
            let expected: Vec<String> = names(plain).into_iter().filter(other).collect();
            assert_eq!(markup, expected, "{name:?}");
            assert!(tags(page).iter().all(|tag| !tag.contains(" on")), "{name:?}");
        }
    }
}

/// Nothing is loaded, and nothing would be.
#[test]
fn nothing_is_loaded() {
    for page in [unit_page("a"), scan_page("a")] {
        assert!(page.contains("content=\"default-src 'none'; style-src 'unsafe-inline'; "));
        for word in
            ["http:", "https:", "//", "url(", "@import", "src=", "<script", "<link", "<iframe", "<object"]
        {
            assert!(!page.contains(word), "{word}");
        }
    }
}

/// What WCAG 2.2 and a screen reader ask for.
#[test]
fn it_can_be_heard() {
    for page in [unit_page("a"), scan_page("a")] {
        let tags = tags(&page);
        let have = |start: &str| tags.iter().filter(|tag| tag.starts_with(start)).count();
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"), "{}", &page[..80]);
        for landmark in ["title", "header", "main", "footer", "h1", "nav"] {
            let there = tags.iter().filter(|tag| tag.split_whitespace().next() == Some(landmark)).count();
            assert_eq!(there, 1, "{landmark}");
        }
        assert!(
            tags.iter()
                .filter(|tag| tag.starts_with("th ") || *tag == "th")
                .all(|tag| tag.contains("scope="))
        );
        assert!(
            tags.iter().filter(|tag| tag.starts_with("svg")).all(|tag| tag.contains("aria-hidden=\"true\""))
        );
        let boxes = tags.iter().filter(|tag| tag.contains("role=\"region\""));
        assert!(
            boxes.clone().count() > 0
                && boxes.clone().all(|tag| tag.contains("tabindex=\"0\"") && tag.contains("aria-label="))
        );
        assert_eq!(have("section"), have("h2"));
        let mut ids: Vec<&str> =
            page.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        for link in page.split("href=\"#").skip(1).map(|rest| rest.split('"').next().unwrap()) {
            assert!(ids.contains(&link), "#{link}");
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "names are given once");
        let levels: Vec<u32> = tags
            .iter()
            .filter_map(|tag| tag.split_whitespace().next()?.strip_prefix('h')?.parse().ok())
            .collect();
        assert!(levels.windows(2).all(|pair| pair[1] <= pair[0] + 1), "no level is left out: {levels:?}");
    }
}

/// Whether what is shown of a repair is in force, is said wherever it is shown.
#[test]
fn it_says_what_is_in_force() {
    let page = |exit_status: u8, deeds: &[Deed]| {
        let mut report = Report::new("app.service".to_owned());
        report.denials = vec![row("app")];
        let (row, change) = repair();
        (report.repair, report.policy) = (Some(row), Some(change));
        report.verdict = Some("with it, the check fails".to_owned());
        report.ending = "rolled back, which `systemctl show` tells".to_owned();
        report.exit_status = exit_status;
        report.course = deeds.iter().map(|deed| Step::now(*deed, "x")).collect();
        let page = made(|pages| pages.of_unit(&report, 1_767_607_747_000_000));
        tags(&page);
        page
    };
    let count = |page: &str, words: &str| page.matches(words).count();
    let taken_back = page(4, &[Deed::Looked, Deed::Written, Deed::TakenBack]);
    assert_eq!(count(&taken_back, "It was taken back: nothing of it is in force."), 2);
    assert_eq!((count(&taken_back, ">Proven<"), count(&taken_back, ">Before it was written<")), (0, 1));
    assert_eq!(count(&taken_back, ">After it was written<"), 1);
    assert_eq!(count(&taken_back, ">Rolled back, which <code>systemctl show</code> tells<"), 1);
    let proposed = page(1, &[Deed::Looked]);
    assert_eq!(count(&proposed, "It is only proposed: nothing of it is in force."), 2);
    assert_eq!(count(&proposed, "with it, the unit has no filter any more."), 1);
    let repaired = page(0, &[Deed::Looked, Deed::Written, Deed::Verified]);
    assert_eq!((count(&repaired, "in force."), count(&repaired, ">Proven<")), (0, 1));
}

#[test]
fn quoted_words_are_code() {
    let shown = |text: &str| prose(text).into_string();
    assert_eq!(shown("run `a <b>` now"), "run <code>a &lt;b&gt;</code> now");
    for text in ["", "none", "a ` alone"] {
        assert_eq!(shown(text), text);
    }
    assert_eq!(breakable(&"/usr/a.b").into_string(), "/<wbr>usr/<wbr>a.<wbr>b");
}

/// What is dark on the screen, is printed on light paper.
#[test]
fn colours_follow_the_reader() {
    let page = unit_page("a");
    assert!(page.contains("@media screen and (prefers-color-scheme:dark){:root{"));
    assert!(page.contains("@media print{"));
    assert!(page.contains("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"));
}
