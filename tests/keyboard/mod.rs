//! A page under the Tab key: what can be reached, in which order, and whether it can be seen where one is.
//!
//! Chromium is told what to do over a pipe (<https://chromedevtools.github.io/devtools-protocol/>): JSON messages, each
//! ended by a zero byte, which it reads from descriptor 3 and writes to descriptor 4.

use super::{BROWSER, COLOURS, OPTIONS, VIEWS, View};
use libtest_mimic::Failed;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::sleep;
use std::time::Duration;

/// What the keyboard has to reach, in the order of the document.
#[derive(Debug, Deserialize)]
struct Stops {
    expected: Vec<String>,
    /// Of these, what scrolls and does not say what it is.
    nameless: Vec<String>,
}

/// The script that finds them.
const STOPS: &str = r#"(() => {
  const overflows = {x: e => e.scrollWidth > e.clientWidth + 1, y: e => e.scrollHeight > e.clientHeight + 1};
  const scrolls = e => ["x", "y"].some(way =>
    overflows[way](e) && ["auto", "scroll"].includes(getComputedStyle(e)["overflow-" + way]));
  const all = [...document.body.querySelectorAll("*")].filter(e => e.checkVisibility());
  stops = all.filter(e => e.matches("a[href], summary, button, input, select, textarea, [tabindex]") || scrolls(e));
  named = e => e.outerHTML.slice(0, 80);
  const silent = e => scrolls(e) && !(e.matches("[role=region][tabindex='0']") && e.getAttribute("aria-label"));
  return {expected: stops.map(named), nameless: stops.filter(silent).map(named)};
})()"#;

/// Where one is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stop {
    /// Which of [`Stops::expected`]; -1: none of them.
    at: i64,
    /// Its outline, how thick that is, and how far it stands out from what is behind it.
    outline: String,
    thick: f64,
    contrast: f64,
    /// It is in the window, and nothing that scrolls cuts off its outline.
    in_window: bool,
    cut: Option<String>,
    /// So many others have an outline.
    others: u32,
}

/// The script that tells.
const STOP: &str = r#"(() => {
  const element = document.activeElement, style = getComputedStyle(element), box = element.getBoundingClientRect();
  const beyond = parseFloat(style.outlineWidth) + parseFloat(style.outlineOffset);
  const [left, top, right, bottom] = [box.left - beyond, box.top - beyond, box.right + beyond, box.bottom + beyond];
  let cut = null;
  for (let outer = element.parentElement; outer && outer !== document.body; outer = outer.parentElement) {
    const clip = outer.getBoundingClientRect();
    if (getComputedStyle(outer).overflow !== "visible" &&
        (left < clip.left || top < clip.top || right > clip.right || bottom > clip.bottom)) cut = named(outer);
  }
  const behind = ground(element === document.body ? element : element.parentElement);
  const [one, other] = [numbers(style.outlineColor), behind].map(luminance);
  return {at: stops.indexOf(element),
    outline: element.matches(":focus-visible") ? style.outlineStyle : "none", thick: parseFloat(style.outlineWidth),
    contrast: (Math.max(one, other) + 0.05) / (Math.min(one, other) + 0.05),
    inWindow: left >= 0 && right <= innerWidth && box.top < innerHeight && box.bottom > 0, cut,
    others: stops.filter(e => e !== element && getComputedStyle(e).outlineStyle !== "none").length};
})()"#;

/// Go through a page with Tab: as wide as a telephone on light ground, and as a desk's screen on dark ground.
pub(super) fn walked(folder: &Path) -> Result<(), Failed> {
    let mut browser = Browser::start(folder)?;
    for view in [VIEWS[0], VIEWS[3]] {
        browser.show(&folder.join("page.html"), view)?;
        let stops: Stops = serde_json::from_value(browser.evaluate(STOPS)?)?;
        assert!(stops.expected.len() > 3 && stops.nameless.is_empty(), "{}: {stops:#?}", view.name);
        for (at, name) in stops.expected.iter().enumerate() {
            for kind in ["rawKeyDown", "keyUp"] {
                let key = json!({"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9});
                browser.call("Input.dispatchKeyEvent", &key)?;
            }
            let stop: Stop = serde_json::from_value(browser.evaluate(STOP)?)?;
            assert_eq!(stop.at, i64::try_from(at).unwrap(), "{}: {name} is next: {stop:#?}", view.name);
            assert!(
                stop.outline == "solid" && stop.thick >= 2.0 && stop.contrast >= 3.0,
                "{}: {name}: {stop:#?}",
                view.name
            );
            assert!(
                stop.in_window && stop.cut.is_none() && stop.others == 0,
                "{}: {name}: {stop:#?}",
                view.name
            );
            // a link, a box, a summary: what a stylesheet says of one of a kind, it says of all
            if stops.expected.iter().position(|other| kind_of(other) == kind_of(name)) == Some(at) {
                browser.differs(name)?;
            }
        }
    }
    Ok(())
}

/// The tag of an element.
fn kind_of(element: &str) -> &str {
    element.split([' ', '>']).next().unwrap_or(element)
}

/// A browser that shows one page.
struct Browser {
    process: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// So many orders were given.
    given: u64,
    session: Option<Value>,
}

impl Browser {
    fn start(folder: &Path) -> Result<Self, Failed> {
        let mut process = Command::new("sh")
            .args(["-c", r#"exec timeout 100 "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null"#, BROWSER])
            .args(OPTIONS)
            .arg(format!("--user-data-dir={}", folder.join("keyboard").display()))
            .arg("--remote-debugging-pipe")
            .env("HOME", folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let (orders, answers) = (process.stdin.take(), BufReader::new(process.stdout.take().unwrap()));
        let mut browser = Browser { process, orders, answers, given: 0, session: None };
        let page = browser.call("Target.createTarget", &json!({"url": "about:blank"}))?;
        let attach = json!({"targetId": page["targetId"], "flatten": true});
        browser.session = Some(browser.call("Target.attachToTarget", &attach)?["sessionId"].clone());
        // without a window no page has the focus
        browser.call("Emulation.setFocusEmulationEnabled", &json!({"enabled": true}))?;
        Ok(browser)
    }

    /// Give an order, and wait for its answer; what else the browser tells is left out.
    fn call(&mut self, method: &str, params: &Value) -> Result<Value, Failed> {
        self.given += 1;
        let mut order = json!({"id": self.given, "method": method, "params": params});
        if let Some(session) = &self.session {
            order["sessionId"] = session.clone();
        }
        self.orders.as_mut().unwrap().write_all(format!("{order}\0").as_bytes())?;
        loop {
            let mut answer = Vec::new();
            self.answers.read_until(0, &mut answer)?;
            if answer.pop().is_none() {
                return Err(format!("{BROWSER}, which .ci/run installs, ended at {method}").into());
            }
            let mut answer: Value = serde_json::from_slice(&answer)?;
            if answer["id"] == self.given {
                return match answer.get("error") {
                    Some(error) => Err(format!("{method}: {error}").into()),
                    None => Ok(answer["result"].take()),
                };
            }
        }
    }

    fn evaluate(&mut self, script: &str) -> Result<Value, Failed> {
        let params = json!({"expression": script, "returnByValue": true});
        let mut answer = self.call("Runtime.evaluate", &params)?;
        match answer.get("exceptionDetails") {
            Some(error) => Err(format!("{error:#}").into()),
            None => Ok(answer["result"]["value"].take()),
        }
    }

    /// Show a page, of which nothing has the focus.
    fn show(&mut self, page: &Path, view: View) -> Result<(), Failed> {
        let window =
            json!({"width": view.width, "height": view.height, "deviceScaleFactor": 1, "mobile": false});
        self.call("Emulation.setDeviceMetricsOverride", &window)?;
        let scheme =
            json!({"name": "prefers-color-scheme", "value": if view.dark { "dark" } else { "light" }});
        self.call("Emulation.setEmulatedMedia", &json!({"features": [scheme]}))?;
        self.call("Page.navigate", &json!({"url": format!("file://{}?{}", page.display(), view.name)}))?;
        let shown = format!("document.readyState === 'complete' && location.search === '?{}'", view.name);
        for _ in 0..1000 {
            if self.evaluate(&shown)? == true {
                self.evaluate(&format!("{COLOURS}; var stops, named"))?;
                return Ok(());
            }
            sleep(Duration::from_millis(10));
        }
        Err("the page is not shown".into())
    }

    /// That it has the focus, is seen on the screen.
    fn differs(&mut self, name: &str) -> Result<(), Failed> {
        let window = json!({"format": "png"});
        let with = self.call("Page.captureScreenshot", &window)?;
        self.evaluate("last = document.activeElement; last.blur()")?;
        let without = self.call("Page.captureScreenshot", &window)?;
        self.evaluate("last.focus({preventScroll: true})")?;
        assert!(with["data"].is_string() && with != without, "it looks the same without focus: {name}");
        Ok(())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.orders.take(); // it ends when nobody can give orders any more
        let _ = self.process.wait();
    }
}
