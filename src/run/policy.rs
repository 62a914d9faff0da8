//! `unitfix policy`.

use super::json;
use crate::cli::PolicyOptions;
use crate::evidence::one_line;
use crate::policy::show::show;
use crate::report::{Lint, People, PolicyPage, output, parse_call};
use crate::root::Root;
use crate::subject::{Failure, Inspector, Judged, Whereabouts};

/// What is wrong, where the result does not show it.
fn notices(lint: &Lint) {
    for notice in lint.notices() {
        output::message(&format!("unitfix: {notice}\n"));
    }
}

/// The policies of one or several units. Of several, one that cannot be shown does not keep the others from it.
pub(super) fn show_policies(options: &PolicyOptions) -> Result<u8, Failure> {
    let (units, calls) = options.named();
    if !calls.is_empty() && (options.show || options.lint) {
        let message = format!("--show and --lint are about whole filters, not about {}", one_line(calls[0]));
        return Err(Failure::Usage(message));
    }
    let place = Whereabouts {
        root: options.place.root.clone().map(Root::new),
        systemd: options.systemd,
        scope: options.of.scope(),
    };
    let inspector = Inspector::new(place);
    let several = units.len() > 1;
    let mut status = 0;
    for (at, unit) in units.into_iter().enumerate() {
        if at > 0 && !options.place.json {
            output::result("\n");
        }
        status = status.max(match show_policy(unit, &calls, &inspector, options) {
            Err(failure) if several => {
                output::message(&format!("unitfix: {}: {failure}\n", one_line(unit)));
                failure.status()
            }
            shown => shown?,
        });
    }
    Ok(status)
}

fn show_policy(
    unit: &str,
    calls: &[&str],
    inspector: &Inspector,
    options: &PolicyOptions,
) -> Result<u8, Failure> {
    let inspected = inspector.inspect(unit)?;
    let groups = &inspected.judged.groups;
    let calls: Result<Vec<_>, String> = calls.iter().map(|text| parse_call(text, groups)).collect();
    let calls = calls.map_err(Failure::Usage)?.concat();
    if options.show {
        let Judged { unit: of, groups, .. } = &inspected.judged;
        output::result(&show(of, groups).to_string());
        notices(&Lint::new(&inspected.judged, unit));
        return inspected.judged().map(|_| 0); // what systemctl shows of a unit that is not there is no answer
    }
    let people = People::default();
    if options.lint {
        let lint = Lint::new(&inspected.faulted()?, unit);
        output::result(&if options.place.json { json(&lint)? } else { lint.text(&people) });
        return Ok(u8::from(lint.is_faulty()));
    }
    let judged = inspected.judged()?;
    let page = PolicyPage::new(&judged, &calls);
    let text =
        if options.place.json { json(&page.with_all_calls(&judged.policy))? } else { page.text(&people) };
    output::result(&text);
    if !calls.is_empty() {
        notices(&Lint::new(&judged, unit));
    }
    Ok(0)
}
