//! How a capture begins: everything is opened, the programs are attached, privileges are given up,
//! and the gate opens.

use std::path::Path;

use anyhow::Result;
use nix::unistd::User;

use super::{
    Capture, Outside,
    compare::OwnCounts,
    describe::{hooks, notes, promiscuous},
    enter, export, file, live, postrotate,
    settings::{joins, planned, settings, snaplen},
    take::Take,
    watch::InterfaceWatch,
};
use crate::{
    cli::{CaptureArgs, DirectionArg, Hook},
    command::{confine, ipfix, output::Outputs, packet_log::PacketLog, progress::Progress},
    kernel::{HookChoice, Interface, Interfaces, LinkEvents, NetworkNamespace, Session},
    sandbox::Policy,
};

/// What is captured.
struct Place {
    namespace: Option<NetworkNamespace>,
    events: LinkEvents,
    selected: Vec<Interface>,
}

impl Place {
    async fn enter(args: &CaptureArgs) -> Result<Self> {
        let namespace = enter(args.netns.as_deref())?;
        // Before the list, so that no interface disappears unnoticed.
        let events = LinkEvents::subscribe()?;
        let selected = Interfaces::list().await?.select(&args.interfaces)?;
        Ok(Self {
            namespace,
            events,
            selected,
        })
    }
}

impl<'a> Capture<'a> {
    /// Begins to capture; also where the reports will go.
    ///
    /// # Errors
    /// When something that was asked for cannot be had.
    pub(super) async fn begin(args: &'a CaptureArgs, outside: Outside) -> Result<(Self, Outputs)> {
        let place = Place::enter(args).await?;
        let export = export::prepare(args)?;
        let user = args.files.relinquish_privileges.as_deref();
        let user = user.map(postrotate::find_user).transpose()?;
        user.as_ref().map_or(Ok(()), postrotate::open_files_as)?;
        let mut outputs = Outputs::new(&args.output, &other_outputs(args))?;
        let mut capture = Self::attach(args, place, outside)?;
        if args.output.verbose > 0 {
            let now = capture.events.list().await?;
            capture.own_counts = Some(OwnCounts::of(capture.session.attached(), &now));
        }
        capture.confine(user, &mut outputs)?;
        capture.start_exports(export)?;
        capture.session.open();
        capture.announce();
        capture.begin_export()?;
        capture.outside.views.show(args)?;
        capture.outside.manager.ready();
        Ok((capture, outputs))
    }

    fn attach(args: &'a CaptureArgs, place: Place, outside: Outside) -> Result<Self> {
        let selected = &place.selected;
        let (settings, link_types) = settings(args, selected)?;
        let file = file::Prepared::new(args, selected)?;
        let directions = match args.direction {
            DirectionArg::In => (true, false),
            DirectionArg::Out => (false, true),
            DirectionArg::Inout => (true, true),
        };
        let hook = match args.hook {
            Hook::Auto | Hook::Tc => HookChoice::Tc,
            Hook::Xdp => HookChoice::Xdp,
        };
        let session = Session::start(&settings, selected, hook, directions)?;
        // A start that failed has left files of before as they were.
        let file = file.map(file::Prepared::begin).transpose()?;
        let log = PacketLog::create(args.output.packets.as_deref())?;
        let mut notes = notes(session.attached());
        if !args.no_promiscuous_mode {
            notes.extend(promiscuous(&session, session.attached()));
        }
        Ok(Self {
            args,
            watch: InterfaceWatch::new(session.attached(), joins(args)),
            session,
            take: Take::new(args, selected, file, log),
            notes,
            events: place.events,
            own_counts: None,
            export: None,
            link_types,
            namespace: place.namespace,
            outside,
            progress: Progress::new(planned(args), args.output.quiet > 0 || args.live),
        })
    }

    /// Gives up what the capture does not need from here on, in both of its processes.
    fn confine(&self, user: Option<User>, outputs: &mut Outputs) -> Result<()> {
        let args = self.args;
        let mut policy = Policy::default();
        outputs.hold(&mut policy)?;
        if let Some(file) = &self.take.file {
            file.needs(&mut policy);
        }
        live::needs(args, &mut policy);
        ipfix::needs(&args.output.flows, &mut policy);
        export::needs(&args.export, &mut policy);
        if !args.sandbox.no_sandbox {
            let user = user.as_ref().map(|user| user.uid);
            self.session.seal(joins(args), user)?;
        }
        if let Some(user) = user {
            policy.become_user(user);
        }
        confine::enter(&policy, args.sandbox)?;
        Ok(())
    }

    /// Starts the threads that export; they are confined like the one that starts them.
    fn start_exports(&mut self, export: Option<export::Prepared>) -> Result<()> {
        if let Some(collector) = self.outside.collector.take() {
            let interfaces = self.session.attached().iter().map(|one| &one.interface);
            let interfaces: Vec<_> = interfaces.cloned().collect();
            self.take
                .export_flows(ipfix::begin(collector)?, &interfaces);
        }
        if let Some(export) = export {
            self.notes.extend(export.note.clone());
            self.take.rows = Some(export.flows());
            self.export = Some(export.start()?);
        }
        Ok(())
    }

    /// Says what is being captured, as tcpdump does.
    fn announce(&self) {
        if self.args.output.quiet > 0 {
            return;
        }
        let attached = self.session.attached().iter();
        for attached in attached.filter(|one| one.refused.is_none()) {
            eprintln!(
                "listening on {} ({}), link-type {}, snapshot length {} bytes",
                attached.interface.name,
                hooks(attached),
                attached.interface.link_type(),
                snaplen(self.args)
            );
        }
        for note in &self.notes {
            eprintln!("note: {note}");
        }
    }
}

/// Outputs that are written while the capture goes on.
fn other_outputs(args: &CaptureArgs) -> Vec<&Path> {
    let lines = args.print.then_some(Path::new("-"));
    args.files
        .write
        .as_deref()
        .into_iter()
        .chain(lines)
        .collect()
}
