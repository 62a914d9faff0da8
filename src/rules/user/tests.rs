use super::*;
use std::os::unix::fs::symlink;

fn error(text: &str) -> String {
    check(Path::new("/r.yaml"), text.as_bytes()).unwrap_err().to_string()
}

const END: &str = "\nno rule of any file there counts until this is mended or taken away";

#[test]
fn what_is_wrong_has_a_place() {
    for (text, expected) in [
        (
            "risk:\n- tier: deadly\n",
            "/r.yaml:2:9: risk[0].tier: unknown variant `deadly`, expected one of `harmless`, `information`, \
             `resources`, `ownership`, `network`, `process-control`, `system`\n    - tier: deadly\n            ^",
        ),
        (
            "risk:\n- {tier: harmless, calls: [chown, chwon], lets: x, source: y}\n",
            "/r.yaml:2:35: risk[0].calls[1]: 'chwon' is no system call; did you mean chown?\n    \
             - {tier: harmless, calls: [chown, chwon], lets: x, source: y}\n    \
             \u{20}                                 ^",
        ),
        (
            "risk:\n- tier: harmless # chwon, not @chwon\n  lets: chwon\n  calls:\n  - chown\n  - \"@chwon\"\n",
            "/r.yaml:6:5: risk[0].calls[1]: '@chwon' is no group; did you mean @chown?\n      - \"@chwon\"\n        ^",
        ),
        (
            "risk: # fchown\n- {tier: system, calls: [fchown], lets: x, source: y}\nfamilies:\n\
             - {power: fchown, source: s, calls: [chown, fchown]}\n- {power: b, source: fchown, calls: [fchown]}\n",
            "/r.yaml:5:38: fchown is in a family already\n    - {power: b, source: fchown, calls: [fchown]}\n    \
             \u{20}                                    ^",
        ),
        (
            "families:\n- power: a\n  source: s\n  calls: [chown, fchown]\n  equal_from: lchown\n",
            "/r.yaml:5:15: lchown is not among the calls of this family\n      equal_from: lchown\n                  ^",
        ),
        (
            "families:\n- power: a\n  source: s\n  calls: [chown, fchown]\n  stands_in_for: {chown: [lchown]}\n",
            "/r.yaml:5:27: lchown is not among the calls of this family\n      stands_in_for: {chown: [lchown]}\n    \
             \u{20}                         ^",
        ),
        (
            "calls:\n  chown:\n    does: owns\n    falls_back: {EWHAT: x}\n",
            "/r.yaml:4:18: calls.chown.falls_back: 'EWHAT' is no errno\n        falls_back: {EWHAT: x}\n    \
             \u{20}                ^",
        ),
        (
            "calls:\n  chown: {does: owns}\n  chown: {does: owns more}\n",
            "/r.yaml:3:3: calls: chown stands here twice\n      chown: {does: owns more}\n      ^",
        ),
        (
            "calls:\n  chwon: {does: owns}\n",
            "/r.yaml:2:3: calls: 'chwon' is no system call; did you mean chown?\n      chwon: {does: owns}\n      ^",
        ),
        (
            "calls:\n  chown: {does: \"a\\e[31mb\"}\n",
            "/r.yaml:2:17: calls.chown.does: there is a character in these words that is not shown: '\\\\u{1b}'\n    \
             \u{20} chown: {does: \"a\\\\e[31mb\"}\n                    ^",
        ),
        (
            "nonsense: 1\n",
            "/r.yaml:1:1: unknown field `nonsense`, expected one of `calls`, `families`, `risk`\n    nonsense: 1\n    ^",
        ),
    ] {
        assert_eq!(error(text), format!("{expected}{END}"));
    }
    assert!(error("risk: [\n").starts_with("/r.yaml:2:1: "), "{}", error("risk: [\n"));
    assert_eq!(
        check(Path::new("/r.yaml"), b"a\nb \xff").unwrap_err().to_string(),
        format!("/r.yaml:2:3: this is not UTF-8\n    b \n      ^{END}")
    );
}

#[test]
fn what_is_hostile_is_shown_harmless() {
    let shown = error("risk:\n- \u{1b}[31m \u{202e}\n");
    assert!(!shown.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{shown}");
}

#[test]
fn aliases_are_fine_but_a_bomb_of_them_does_not_go_off() {
    let few = "risk:\n- &a {tier: harmless, calls: [keyctl], lets: do it, source: me}\n- *a\n";
    check(Path::new("/r.yaml"), few.as_bytes()).unwrap();
    let half = usize::try_from(SIZE_MAX).unwrap() / 16;
    let calls = "dup,".repeat(half / 4);
    let aliases = "*a,".repeat(half / 3 - 100);
    let text = format!("risk: [&a {{tier: harmless, calls: [{calls}], lets: do it, source: me}},{aliases}]");
    let said = error(&text);
    assert!(said.contains("the aliases in this file make too much of it"), "{said}");
}

/// A root folder with files of rules.
fn rooted(files: &[(&str, &str)]) -> (tempfile::TempDir, Root) {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("etc/unitfix/rules.d");
    std::fs::create_dir_all(&folder).unwrap();
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
    let root = Root::new(dir.path());
    (dir, root)
}

const HARMLESS: &str = "risk: [{tier: harmless, calls: [keyctl], lets: do it, source: me}]";

#[test]
fn nothing_is_half_used() {
    let files =
        [("a.yaml", "# nothing\n"), ("b.yaml", HARMLESS), ("c.yml", "nonsense"), (".#b.yaml", "nonsense")];
    let (dir, root) = rooted(&files);
    assert_eq!(load(&root).unwrap().risk.len(), 1);
    let folder = dir.path().join("etc/unitfix/rules.d");
    std::fs::write(folder.join("c.yaml"), "risk: 5").unwrap();
    let said = load(&root).unwrap_err().to_string();
    assert!(said.starts_with("/etc/unitfix/rules.d/c.yaml:1:7: risk: invalid type"), "{said}");
    std::fs::remove_file(folder.join("c.yaml")).unwrap();
    std::fs::create_dir(folder.join("c.yaml")).unwrap();
    let said = load(&root).unwrap_err().to_string();
    assert_eq!(said, format!("/etc/unitfix/rules.d/c.yaml: this is not a regular file{END}"));
    assert_eq!(load(&Root::new(dir.path().join("etc"))).unwrap(), UserRules::default());
}

#[test]
fn links_are_followed_inside_of_the_root() {
    let (dir, root) = rooted(&[]);
    std::fs::write(dir.path().join("rules"), HARMLESS).unwrap();
    let folder = dir.path().join("etc/unitfix/rules.d");
    symlink("/rules", folder.join("a.yaml")).unwrap();
    symlink("../../../../../../../rules", folder.join("b.yaml")).unwrap();
    assert_eq!(load(&root).unwrap().risk.len(), 2);
    symlink("/etc/passwd", folder.join("c.yaml")).unwrap();
    assert!(load(&root).unwrap_err().to_string().starts_with("/etc/unitfix/rules.d/c.yaml: "));
}

#[test]
fn files_and_their_number_are_bounded() {
    let (dir, root) = rooted(&[]);
    let folder = dir.path().join("etc/unitfix/rules.d");
    let large = "#".repeat(1 << 20);
    std::fs::write(folder.join("large.yaml"), &large).unwrap();
    assert_eq!(load(&root).unwrap(), UserRules::default());
    std::fs::write(folder.join("large.yaml"), large + "#").unwrap();
    let said = load(&root).unwrap_err().to_string();
    assert_eq!(said, format!("/etc/unitfix/rules.d/large.yaml: it is larger than 1 MiB{END}"));
    for n in 0..FILES_MAX {
        std::fs::write(folder.join(format!("{n}.yaml")), "").unwrap();
    }
    let said = load(&root).unwrap_err().to_string();
    assert_eq!(said, format!("/etc/unitfix/rules.d: there are more than 100 files of rules{END}"));
}

#[test]
fn two_files_do_not_contradict_each_other() {
    let family = "families:\n- {power: a, source: s, calls: [chown, fchown]}\n";
    let (_dir, root) = rooted(&[("a.yaml", family), ("b.yaml", family)]);
    let said = load(&root).unwrap_err().to_string();
    let place =
        "/etc/unitfix/rules.d/b.yaml:2:33: chown is in a family already, in /etc/unitfix/rules.d/a.yaml\n";
    assert!(said.starts_with(place), "{said}");
    let words = "calls:\n  chown: {does: owns}\n";
    let (_dir, root) = rooted(&[("a.yaml", words), ("b.yaml", words)]);
    let said = load(&root).unwrap_err().to_string();
    let place =
        "/etc/unitfix/rules.d/b.yaml:2:3: chown is described already, in /etc/unitfix/rules.d/a.yaml\n";
    assert!(said.starts_with(place), "{said}");
}

proptest::proptest! {
    #[test]
    fn never_panics(
        bytes: Vec<u8>,
        text in "((risk|families|calls|stands_in_for|power|lets|tier|source|does|falls_back): ?|- |\\[|\\{|\\]|\\}|, |\\n  ?|chown|EPERM|@swap|&a |\\*a|!x|\"\\\\e\"|\t){0,40}",
    ) {
        let _ = (check(Path::new("/r"), &bytes), check(Path::new("/r"), text.as_bytes()).map_err(|e| e.to_string()));
    }
}
