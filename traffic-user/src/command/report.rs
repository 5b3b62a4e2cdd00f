//! `traffic report`: the report on what captures of many hosts stored.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use jiff::Timestamp;

use super::{UsageError, fleet::connect, output::Outputs};
use crate::{
    cli::ReportArgs,
    fleet::{query::Question, schema},
    report::stored::{self, Asked},
};

/// Asks the database and writes the report everywhere it was asked for.
///
/// # Errors
/// When the database does not answer, or an output cannot be written.
pub(super) async fn run(args: &ReportArgs) -> Result<ExitCode> {
    if args.output.packets.is_some() {
        let message = "--packets: packets are not stored";
        return Err(UsageError(message.to_owned()).into());
    }
    let question = question(args)?;
    let outputs = Outputs::new(&args.output, &[])?;
    let store = connect(&args.from, args.password_file.as_deref())?;
    let asking = || format!("ask {}", args.from);
    match schema::version(&store).await.with_context(asking)? {
        schema::VERSION => {}
        0 => bail!("{} has no tables (traffic fleet init)", args.from),
        version => bail!(
            "the tables of {} have version {version}, not {} (traffic fleet init, of the newest \
             version in the fleet)",
            args.from,
            schema::VERSION
        ),
    }
    let answer = question.ask(&store).await.with_context(asking)?;
    let asked = Asked {
        from: args.from.to_string(),
        interfaces: args.interfaces.clone(),
        bars: question.bars,
        top: args.output.top,
        filter: args.filter.as_ref().map(|filter| filter.text().to_owned()),
    };
    outputs.write(&stored::report(&asked, &answer))?;
    Ok(ExitCode::SUCCESS)
}

fn question(args: &ReportArgs) -> Result<Question> {
    let now_ns = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
    let since_ns = args.since.at_ns(now_ns);
    let until_ns = args.until.map_or(now_ns, |until| until.at_ns(now_ns));
    if since_ns >= until_ns {
        let message = "--since is not before --until";
        return Err(UsageError(message.to_owned()).into());
    }
    let seconds = (until_ns - since_ns).div_ceil(1_000_000_000);
    let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
    Ok(Question {
        since_ns,
        until_ns,
        hosts: args.hosts.clone(),
        interfaces: args.interfaces.clone(),
        // Rows are of whole seconds.
        bars: args.output.bins.min(seconds.max(1)),
        filter: args.filter.clone(),
        top: args.output.top,
    })
}
