use super::*;

fn facts() -> Facts {
    Facts {
        release: "6.12.1".to_owned(),
        btf: true,
        jit: Some(1),
        capabilities: u64::MAX,
        program: "/usr/bin/traffic".to_owned(),
        memlock_bytes: Some(8 << 20),
        memory_cgroup: Some(true),
        available_bytes: Some(8 << 30),
        clock_source: Some("tsc".to_owned()),
        xdp_copies: true,
        interfaces: vec![InterfaceFacts {
            name: "eth0".to_owned(),
            up: true,
            ethernet: true,
            supported: true,
            mtu: 1500,
            driver: Some("ixgbe".to_owned()),
            promiscuity: 0,
            xdp: Vec::new(),
            tcx: Some(Vec::new()),
            stale_filters: 0,
            gro: Some(true),
            lro: Some(false),
            vlan_stripping: Some(false),
            transmit_checksum: Some(true),
        }],
    }
}

/// The check `name` once `change` was made to a good host.
fn check(name: &str, change: impl FnOnce(&mut Facts)) -> Check {
    let mut facts = facts();
    change(&mut facts);
    let diagnosis = Diagnosis::new(&facts);
    let found = diagnosis
        .checks
        .iter()
        .rev()
        .find(|check| check.name == name);
    found.expect("the check is made").clone()
}

fn on_interface(name: &str, change: impl FnOnce(&mut InterfaceFacts)) -> Check {
    check(name, |facts| change(&mut facts.interfaces[0]))
}

#[test]
fn a_good_host_has_nothing_to_mend() {
    let diagnosis = Diagnosis::new(&facts());
    assert_eq!(diagnosis.state, State::Ok);
    assert!(diagnosis.checks.iter().all(|check| check.remedy.is_none()));
    assert_eq!(diagnosis.checks.len(), 16);
}

#[test]
fn what_is_not_ok_has_a_remedy_and_decides() {
    let bad = [
        (check("btf", |f| f.btf = false), State::Warning),
        (check("jit", |f| f.jit = Some(0)), State::Warning),
        (
            check("capabilities", |f| f.capabilities = 0),
            State::Problem,
        ),
        (
            check("capabilities", |f| f.capabilities = !(1 << 13)),
            State::Warning,
        ),
        (
            check("memory", |f| f.available_bytes = Some(1 << 20)),
            State::Problem,
        ),
        (
            check("memory", |f| f.available_bytes = Some(200 << 20)),
            State::Warning,
        ),
        (
            check("clock", |f| f.clock_source = Some("hpet".to_owned())),
            State::Warning,
        ),
        (
            on_interface("link", |i| i.supported = false),
            State::Problem,
        ),
        (on_interface("link", |i| i.up = false), State::Warning),
        (on_interface("tc", |i| i.stale_filters = 2), State::Warning),
        (
            on_interface("xdp", |i| i.xdp = vec!["other (id 7)".to_owned()]),
            State::Warning,
        ),
        (on_interface("gro", |i| i.lro = Some(true)), State::Warning),
        (
            on_interface("vlan", |i| i.vlan_stripping = Some(true)),
            State::Warning,
        ),
    ];
    for (check, state) in bad {
        assert_eq!(check.state, state, "{check:?}");
        assert!(check.remedy.is_some(), "{check:?}");
    }
}

#[test]
fn old_kernels_are_told_what_they_need() {
    let locked = |capabilities| {
        check("memlock", |facts| {
            facts.memory_cgroup = Some(false);
            facts.memlock_bytes = Some(64 << 10);
            facts.capabilities = capabilities;
        })
    };
    let without_resource = !(1 << 24);
    assert_eq!(locked(without_resource).state, State::Problem);
    assert_eq!(
        locked(without_resource).remedy.as_deref(),
        Some("ulimit -l unlimited")
    );
    assert_eq!(locked(u64::MAX).state, State::Ok);
    let jumbo = check("mtu", |facts| {
        facts.xdp_copies = false;
        facts.interfaces[0].mtu = 9000;
    });
    assert_eq!(jumbo.state, State::Warning);
    assert_eq!(on_interface("mtu", |i| i.mtu = 9000).state, State::Ok);
    let host = Diagnosis::new(&Facts {
        xdp_copies: false,
        interfaces: Vec::new(),
        ..facts()
    });
    let xdp = host.checks.iter().find(|check| check.name == "xdp");
    assert_eq!(xdp.map(|check| check.state), Some(State::Warning));
}

#[test]
fn what_cannot_be_known_is_no_alarm() {
    for check in [
        check("jit", |f| f.jit = None),
        check("memlock", |f| f.memory_cgroup = None),
        check("memory", |f| f.available_bytes = None),
        check("clock", |f| f.clock_source = None),
        on_interface("gro", |i| (i.gro, i.lro) = (None, None)),
        on_interface("vlan", |i| i.vlan_stripping = None),
        on_interface("checksum", |i| i.transmit_checksum = None),
    ] {
        assert_eq!(check.state, State::Ok, "{check:?}");
        assert!(
            check.finding.starts_with("not known") || check.finding == "the driver does not say",
            "{check:?}"
        );
    }
}

#[test]
fn the_json_agrees_with_its_schema() {
    let mut facts = facts();
    facts.jit = Some(0);
    let json = serde_json::to_value(Diagnosis::new(&facts)).unwrap();
    let schema = include_str!("../../../docs/doctor.schema.json");
    assert_eq!(
        crate::report::schema::problems(schema, &json),
        Vec::<String>::new()
    );
}
