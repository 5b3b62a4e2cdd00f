//! `traffic doctor`: what this host lets a capture do.

use std::{io::Write, process::ExitCode};

use anyhow::{Context as _, Result};

use crate::{
    cli::DoctorArgs,
    doctor::{Check, Diagnosis, State},
    kernel::{ANY, Interface, Interfaces, NetworkNamespace, gather},
};

/// Exit code 1 when there is a problem.
pub(super) async fn run(args: &DoctorArgs) -> Result<ExitCode> {
    args.netns
        .as_deref()
        .map(NetworkNamespace::enter)
        .transpose()?;
    let interfaces = select(&Interfaces::list().await?, &args.interface)?;
    let diagnosis = Diagnosis::new(&gather(&interfaces));
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &diagnosis).context("write to stdout")?;
        writeln!(out).context("write to stdout")?;
    } else {
        write(&mut out, &diagnosis).context("write to stdout")?;
    }
    Ok(ExitCode::from(u8::from(diagnosis.state == State::Problem)))
}

/// Those that were named; else all that are up and whose frames can be parsed.
fn select(all: &Interfaces, names: &[String]) -> Result<Vec<Interface>> {
    if names.is_empty() || names.iter().any(|name| name == ANY) {
        let usable = all
            .iter()
            .filter(|interface| interface.up && interface.is_supported());
        return Ok(usable.cloned().collect());
    }
    Ok(all.select(names)?)
}

fn write(out: &mut impl Write, diagnosis: &Diagnosis) -> std::io::Result<()> {
    let mut under = None;
    for check in &diagnosis.checks {
        if check.interface != under {
            under.clone_from(&check.interface);
            writeln!(out, "\n{}", check.interface.as_deref().unwrap_or("host"))?;
        }
        writeln!(out, "{}", line(check))?;
        if let Some(remedy) = &check.remedy {
            writeln!(out, "{:24}→ {remedy}", "")?;
        }
    }
    let count = |state| {
        let of_it = diagnosis.checks.iter().filter(|check| check.state == state);
        of_it.count()
    };
    writeln!(
        out,
        "\n{} ok, {} warnings, {} problems",
        count(State::Ok),
        count(State::Warning),
        count(State::Problem)
    )
}

fn line(check: &Check) -> String {
    let state = match check.state {
        State::Ok => "ok",
        State::Warning => "warning",
        State::Problem => "problem",
    };
    format!("{state:<8} {:<14} {}", check.name, check.finding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_state_name_and_remedy() {
        let check = Check {
            name: "jit",
            interface: None,
            state: State::Warning,
            finding: "interpreted".to_owned(),
            remedy: Some("sysctl".to_owned()),
        };
        let diagnosis = Diagnosis {
            schema_version: 1,
            state: State::Warning,
            checks: vec![check],
        };
        let mut text = Vec::new();
        write(&mut text, &diagnosis).unwrap();
        assert_eq!(
            String::from_utf8(text).unwrap(),
            format!(
                "warning  jit            interpreted\n{:24}→ sysctl\n\n0 ok, 1 warnings, 0 problems\n",
                ""
            )
        );
    }
}
