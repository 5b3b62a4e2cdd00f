//! `traffic fleet`: the database that many hosts' captures fill.

use std::{path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};

use super::UsageError;
use crate::{
    cli::{FleetCommand, InitArgs},
    fleet::{
        cluster::Cluster,
        features::Features,
        schema::{self, Layout, Retention},
        store::Store,
        target::{self, Target},
    },
};

/// Does what was asked.
///
/// # Errors
/// When a server does not do its part.
pub(super) async fn run(command: FleetCommand) -> Result<ExitCode> {
    match command {
        FleetCommand::Init(args) => init(&args).await,
    }
}

/// A connection to `target`, with the password from `password_file` or the environment.
///
/// # Errors
/// When the file cannot be read.
pub(super) fn connect(target: &Target, password_file: Option<&Path>) -> Result<Store> {
    let password = target::password(password_file).context("read the password")?;
    Ok(Store::new(target, password.as_deref()))
}

async fn init(args: &InitArgs) -> Result<ExitCode> {
    if args.to.len() > 1 && args.cluster.is_none() {
        let message = "several --to need --cluster, which they are the servers of";
        return Err(UsageError(message.to_owned()).into());
    }
    for target in &args.to {
        let store = connect(target, args.password_file.as_deref())?;
        let made = make_tables(args, &store).await;
        made.with_context(|| format!("make the tables of {target}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn make_tables(args: &InitArgs, store: &Store) -> Result<()> {
    let features = Features::probe(store).await?;
    let cluster = match &args.cluster {
        Some(name) => Some(Cluster::ask(store, name).await?),
        None => None,
    };
    let layout = Layout {
        database: store.database().to_owned(),
        cluster,
        retention: Retention {
            raw: args.keep,
            minute: args.keep_minutes,
            hour: args.keep_hours,
        },
    };
    let found = schema::version(store).await?;
    if found > schema::VERSION {
        bail!(
            "they have version {found}, which is newer than this program's {} (use a newer one)",
            schema::VERSION
        );
    }
    for statement in schema::statements(&layout, &features) {
        store.execute(&statement).await?;
    }
    if found < schema::VERSION {
        store.execute(&schema::set_version(&layout)).await?;
    }
    tell(store, &layout, &features, found);
    Ok(())
}

/// Prints what was made.
fn tell(store: &Store, layout: &Layout, features: &Features, found: u32) {
    println!(
        "{}: ClickHouse {}, tables of version {} ({})",
        store.target(),
        features.version,
        schema::VERSION,
        match found {
            0 => "new".to_owned(),
            found if found < schema::VERSION => format!("they had version {found}"),
            _ => "as before".to_owned(),
        }
    );
    match &layout.cluster {
        Some(cluster) if cluster.is_replicated => println!("replicated by the shards' servers"),
        Some(_) => println!(
            "note: not replicated: each row is on one server alone (<zookeeper>, <macros><shard> \
             and <macros><replica> in the servers' configuration make new tables replicated)"
        ),
        None => {}
    }
    if !features.ttl {
        println!(
            "note: this server cannot let rows go by their age (from 19.6): drop old partitions \
             yourself (ALTER TABLE … DROP PARTITION)"
        );
    }
}
