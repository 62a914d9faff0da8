//! The pages of `--html` in a real browser, headless Chromium: as wide as a telephone and as a desk's screen, on light and
//! on dark ground, and printed.
//!
//! ```text
//! UNITFIX_LIVE=1 cargo test --locked --test pages                  # all of it; needs chromium-headless-shell
//! UNITFIX_LIVE=1 UNITFIX_PAGES=/tmp/x cargo test --test pages      # and keeps pictures there, to be looked at
//! ```
//!
//! A script is added to a copy of each page that measures it there: nothing is wider than the window but what scrolls in a
//! box of its own, all text stands out from what it is really written on, and nothing was loaded. Then one goes through
//! the page with the Tab key.
#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic)] // a failure anywhere here is the test's

mod keyboard;

use libtest_mimic::{Arguments, Failed, Trial};
use serde::Deserialize;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// Chromium without windows. The one with windows makes none as narrow as a telephone.
const BROWSER: &str = "chromium-headless-shell";

/// How it is run, whatever it does.
const OPTIONS: [&str; 8] = [
    "--no-sandbox", // CI is root in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
];

/// Case folders whose page is shown.
const CASES: [&str; 3] = ["html", "html-scan", "html-hostile-names"];

/// What a page is shown on.
#[derive(Clone, Copy)]
struct View {
    name: &'static str,
    width: u32,
    height: u32,
    dark: bool,
}

const VIEWS: [View; 4] = [
    View { name: "phone", width: 390, height: 844, dark: false },
    View { name: "phone-dark", width: 390, height: 844, dark: true },
    View { name: "desk", width: 1280, height: 900, dark: false },
    View { name: "desk-dark", width: 1280, height: 900, dark: true },
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    if std::env::var_os("UNITFIX_LIVE").is_none_or(|value| value != "1") {
        eprintln!("NOT RUN: the pages in a browser need UNITFIX_LIVE=1, and {BROWSER}");
        return ExitCode::SUCCESS;
    }
    let mut trials = Vec::new();
    for case in CASES {
        for view in VIEWS {
            trials.push(Trial::test(format!("{case}::{}", view.name), move || shown(case, view)));
        }
        trials.push(Trial::test(format!("{case}::print"), move || printed(case)));
        trials.push(Trial::test(format!("{case}::keyboard"), move || {
            let folder = tempfile::tempdir().unwrap();
            page(case, folder.path());
            keyboard::walked(folder.path())
        }));
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// The page that the run of a case folder makes.
fn page(case: &str, folder: &Path) -> String {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases").join(case);
    let mut args: Vec<String> =
        fs::read_to_string(case.join("args")).unwrap().lines().map(str::to_owned).collect();
    let at = args.iter().position(|arg| arg == "--html").unwrap();
    args.drain(at..at + 2);
    // what is written goes elsewhere, so that the case stays as it is
    let copied = Command::new("cp").arg("-r").arg(&case).arg(folder.join("case")).status().unwrap();
    assert!(copied.success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_unitfix"));
    command.args(&args).args(["--root", "root", "--html", "../page.html"]);
    if case.join("log").exists() {
        command.args(["--log", "log"]);
    }
    let output = command.env_clear().env("TZ", "UTC").current_dir(folder.join("case")).output().unwrap();
    let page = fs::read_to_string(folder.join("page.html"));
    page.unwrap_or_else(|_| panic!("no page: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Run Chromium on a page; it goes nowhere, and nothing of it is left.
fn chromium(folder: &Path, page: &str, args: &[String]) -> Result<Vec<u8>, Failed> {
    let profile = folder.join("profile");
    let output = Command::new(BROWSER)
        .args(OPTIONS)
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(args)
        .arg(format!("file://{}", folder.join(page).display()))
        .env("HOME", folder)
        .output()
        .map_err(|error| format!("{BROWSER}, which .ci/run installs: {error}"))?;
    if !output.status.success() {
        return Err(
            format!("{BROWSER}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into()
        );
    }
    Ok(output.stdout)
}

/// What the script measures.
#[derive(Debug, Deserialize)]
struct Measured {
    /// The width of the window, and of the page in it.
    window: u32,
    page: u32,
    /// What sticks out of the window, outside of a box that scrolls.
    wide: Vec<String>,
    /// How many pieces of text are seen, and those of a contrast below 4.5.
    texts: u32,
    faint: Vec<String>,
    /// How many things were loaded.
    loaded: u32,
    dark: bool,
}

/// Script that tells how bright a colour is, and what colour is behind an element.
const COLOURS: &str = r#"
const numbers = colour => colour.match(/[\d.]+/g).map(Number);
const part = value => (value /= 255, value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
const luminance = ([r, g, b]) => 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
const ground = element => {
  for (; element; element = element.parentElement) {
    const colour = numbers(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  throw "no ground";
};
"#;

const MEASURE: &str = r#"
const seen = element => element.checkVisibility({contentVisibilityAuto: true}) && !element.closest(".hidden");
const scrolled = element => element.closest(".box");
const measured = {window: innerWidth, page: document.documentElement.scrollWidth, wide: [], texts: 0, faint: [],
  loaded: performance.getEntriesByType("resource").length, dark: matchMedia("(prefers-color-scheme: dark)").matches};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (walker.nextNode()) {
  const text = walker.currentNode, element = text.parentElement;
  if (!text.data.trim() || element.tagName === "SCRIPT" || !seen(element)) continue;
  measured.texts++;
  const [one, other] = [numbers(getComputedStyle(element).color), ground(element)].map(luminance);
  const ratio = (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05);
  if (ratio < 4.5) measured.faint.push(ratio.toFixed(2) + ": " + text.data);
}
for (const element of document.body.querySelectorAll("*")) {
  const box = element.getBoundingClientRect();
  if (box.width && box.right > innerWidth + 0.5 && seen(element) && !(scrolled(element.parentElement)))
    measured.wide.push(element.tagName + " " + element.className);
}
document.documentElement.setAttribute("data-measured", JSON.stringify(measured));
"#;

/// Show a page, and measure it.
fn shown(case: &str, view: View) -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    let page = page(case, folder.path());
    let measured = page.replace("http-equiv=\"Content-Security-Policy\"", "name=\"policy\"");
    assert_ne!(measured, page);
    let script = format!("<script>{COLOURS}{MEASURE}</script></body>");
    fs::write(folder.path().join("measured.html"), measured.replace("</body>", &script)).unwrap();

    let mut args =
        vec![format!("--window-size={},{}", view.width, view.height), "--hide-scrollbars".to_owned()];
    if view.dark {
        args.push("--blink-settings=preferredColorScheme=0".to_owned());
    }
    let picture = folder.path().join("picture.png");
    let dump = [&args[..], &["--dump-dom".to_owned()]].concat();
    let dom = String::from_utf8(chromium(folder.path(), "measured.html", &dump)?).unwrap();
    let json = dom.split_once("data-measured=\"").ok_or("the script did not run")?.1;
    let json =
        json.split('"').next().unwrap().replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">");
    let seen: Measured = serde_json::from_str(&json.replace("&amp;", "&"))?;

    // the page as it is, with its own policy on what may be loaded
    args.push(format!("--screenshot={}", picture.display()));
    chromium(folder.path(), "page.html", &args)?;
    keep(&picture, case, view.name, "png");
    let ink = ink(&fs::read(&picture)?);

    assert_eq!((seen.window, seen.dark), (view.width, view.dark), "the window is not what was asked for");
    assert!(seen.page <= seen.window && seen.wide.is_empty(), "{seen:#?}");
    assert!(seen.texts > 40 && seen.faint.is_empty(), "{seen:#?}");
    assert_eq!(seen.loaded, 0, "{seen:#?}");
    assert!(ink > 0.01, "the picture is blank: {ink}");
    Ok(())
}

/// How much of a picture is not like what is left of it or above it. A PNG holds, for each point, the difference
/// (PNG specification, "Filtering"); of a blank page all are 0.
fn ink(png: &[u8]) -> f64 {
    let mut packed = Vec::new();
    let mut at = 8;
    while let Some(head) = png.get(at..at + 8) {
        let length = usize::try_from(u32::from_be_bytes(head[..4].try_into().unwrap())).unwrap();
        if &head[4..] == b"IDAT" {
            packed.extend(&png[at + 8..at + 8 + length]);
        }
        at += length + 12;
    }
    let mut points = Vec::new();
    flate2::read::ZlibDecoder::new(&packed[..]).read_to_end(&mut points).unwrap();
    let different = points.iter().filter(|point| **point != 0).count();
    f64::from(u32::try_from(different).unwrap()) / f64::from(u32::try_from(points.len()).unwrap())
}

/// Print a page.
fn printed(case: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir().unwrap();
    page(case, folder.path());
    let pdf = folder.path().join("page.pdf");
    let args = ["--no-pdf-header-footer".to_owned(), format!("--print-to-pdf={}", pdf.display())];
    chromium(folder.path(), "page.html", &args)?;
    keep(&pdf, case, "print", "pdf");
    let bytes = fs::read(&pdf)?;
    let count = |word: &[u8]| bytes.windows(word.len()).filter(|window| *window == word).count();
    let pages = count(b"/Type /Page\n");
    assert!(bytes.starts_with(b"%PDF-") && (1..=12).contains(&pages), "{pages} pages");
    assert!(count(b"/Type /Font\n") > 0, "no text");
    Ok(())
}

/// Keep a picture for who wants to look at it.
fn keep(file: &Path, case: &str, view: &str, extension: &str) {
    if let Some(folder) = std::env::var_os("UNITFIX_PAGES").map(PathBuf::from) {
        fs::create_dir_all(&folder).unwrap();
        fs::copy(file, folder.join(format!("{case}-{view}.{extension}"))).unwrap();
    }
}
