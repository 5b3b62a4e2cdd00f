use super::*;

#[test]
fn a_filter_is_named_after_its_process() {
    let owner = Owner::this(true).unwrap();
    let name = owner.name(Direction::Egress);
    assert!(name.starts_with("traffic_egress pid="), "{name}");
    // `CLS_BPF_NAME_LEN`, with the end of the text.
    assert!(name.len() < 256);
    assert_eq!(Owner::from_name(&name), Some(owner));
    for other in [
        "",
        "traffic_ingress",
        "cil_from_netdev",
        "traffic_x pid=1 started=a",
    ] {
        assert_eq!(Owner::from_name(other), None, "{other}");
    }
}

#[test]
fn this_process_is_alive_and_one_with_another_start_is_not() {
    let owner = Owner::this(false).unwrap();
    assert_eq!(owner.state().unwrap(), OwnerState::Alive);
    let before = Owner {
        started: owner.started - 1,
        ..owner
    };
    assert_eq!(before.state().unwrap(), OwnerState::Ended);
}

#[test]
fn a_process_of_another_namespace_is_ended_only_where_every_process_is_seen() {
    let owner = Owner {
        pid: u32::MAX,
        started: 1,
        namespace: 1,
        added: false,
    };
    let expected = if own_namespace().unwrap() == INITIAL_NAMESPACE {
        OwnerState::Ended
    } else {
        OwnerState::OutOfSight
    };
    assert_eq!(owner.state().unwrap(), expected);
}

#[test]
fn a_name_with_parentheses_does_not_hide_the_start() {
    let line = "7 (a) b) (c) S 1 7 7 0 -1 4194560 1 0 0 0 0 0 0 0 20 0 1 0 4242 1 1";
    assert_eq!(start_time(line), Some(4242));
}
