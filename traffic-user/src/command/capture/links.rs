//! A capture follows the interfaces that join and leave it.

use anyhow::Result;

use super::{
    Capture, End,
    describe::{self, hooks, interface_notes},
    file::link_type,
    watch::Change,
};
use crate::kernel::{Interface, LinkEvent};

impl Capture<'_> {
    /// Follows an event; the end that it brings, if any.
    pub(super) fn follow_link(&mut self, event: LinkEvent) -> Result<Option<End>> {
        for change in self.watch.follow(event) {
            match change {
                Change::Left { ifindex, message } => {
                    self.session.unplug(ifindex)?;
                    self.remember(&message);
                }
                Change::Joined(interface) => self.join(interface),
                Change::Note(message) => self.remember(&message),
                Change::News(message) => self.progress.say(&format!("note: {message}")),
            }
        }
        Ok(self.watch.all_gone().map(End::Early))
    }

    fn remember(&mut self, message: &str) {
        self.progress.say(&format!("note: {message}"));
        self.notes.push(format!("{message} during the capture"));
    }

    /// Takes in an interface that appeared.
    fn join(&mut self, interface: Interface) {
        let name = interface.name.clone();
        let known = self.session.attached().len();
        match self.plug(&interface) {
            Err(reason) => {
                self.watch.refused(interface.ifindex);
                self.remember(&format!("{name} appeared and is not captured ({reason})"));
            }
            Ok(number) => {
                let what = if number == known {
                    self.add(&interface);
                    "appeared"
                } else {
                    "came back"
                };
                self.ask_for_all_frames(number);
                let attached = &self.session.attached()[number];
                let message = format!("{name} {what} and is captured ({})", hooks(attached));
                self.notes.extend(interface_notes(attached));
                self.remember(&message);
                self.watch.joined(interface);
            }
        }
    }

    /// The number of an interface that counts from here on, or why it does not.
    fn plug(&mut self, interface: &Interface) -> Result<usize, String> {
        if !self.link_types.contains(&link_type(interface)) {
            return Err(format!(
                "frames of link type {} do not go with the filter, or into a .pcap file with others",
                interface.link_type()
            ));
        }
        self.session
            .plug(interface)
            .map_err(|error| error.to_string())
    }

    /// Makes room for the frames and numbers of one more interface.
    fn add(&mut self, interface: &Interface) {
        self.take.add(self.args, interface);
        if let Some(counts) = &mut self.own_counts {
            counts.add(interface);
        }
    }

    fn ask_for_all_frames(&self, number: usize) {
        if !self.args.no_promiscuous_mode {
            let joined = &self.session.attached()[number];
            // That it is not allowed was said when the capture began.
            let _ = describe::promiscuous(&self.session, std::slice::from_ref(joined));
        }
    }
}
