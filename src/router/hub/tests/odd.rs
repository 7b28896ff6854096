//! What one server's oddities cost the others: nothing.

use super::*;
use crate::mcp::object;

/// A server that has something of each kind, all of it as MCP has it.
fn good(name: &str) -> Value {
    json!({
        "capabilities": {"tools": {}, "prompts": {}, "resources": {"subscribe": true}},
        "tools/list": {"tools": [{"name": format!("{name}_t"), "inputSchema": {"type": "object", "properties": {}}}]},
        "prompts/list": {"prompts": [{"name": format!("{name}_p"), "arguments": [{"name": "x"}]}]},
        "resources/list": {"resources": [{"uri": format!("{name}:r"), "name": "r"}]},
        "resources/templates/list": {"resourceTemplates": [{"uriTemplate": format!("{name}:{{id}}"), "name": "u"}]},
    })
}

const LISTS: [(&str, &str); 4] = [
    ("tools/list", "tools"),
    ("prompts/list", "prompts"),
    ("resources/list", "resources"),
    ("resources/templates/list", "resourceTemplates"),
];

/// Both servers come up, and an endpoint reads all that they have. Returns the endpoint's frames, in that order.
fn read_all(rig: &mut Rig) -> Vec<String> {
    (0..rig.offers.len()).for_each(|server| rig.up(server));
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.pass(10);
    rig.endpoint(r#"{"jsonrpc":"2.0","method":"notifications/initialized"}"#);
    for (id, (list, _)) in LISTS.iter().enumerate() {
        rig.endpoint(&json!({"jsonrpc": "2.0", "id": id + 1, "method": list}).to_string());
    }
    rig.pass(10);
    std::mem::take(&mut rig.sink.endpoint)
}

/// What is behind the beginning that the answers to a request share.
fn result(frames: &[String], id: usize) -> &str {
    let start = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#);
    let found: Vec<_> = frames.iter().filter_map(|frame| frame.strip_prefix(&*start)?.strip_suffix('}')).collect();
    assert_eq!(found.len(), 1, "id {id}: {frames:?}");
    found[0]
}

/// The items of the server `b` that an endpoint has read, byte for byte.
fn items_of_b(frames: &[String]) -> Vec<String> {
    let of_list = |(at, (_, member)): (usize, &(&str, &str))| -> Vec<String> {
        let members = object::members(result(frames, at + 1)).unwrap();
        let list = members.iter().find(|m| m.name() == *member).unwrap().value;
        let items: Vec<&serde_json::value::RawValue> = serde_json::from_str(list).unwrap();
        let own = |item: &&serde_json::value::RawValue| item.get().contains("\"b_") || item.get().contains("\"b:");
        items.into_iter().filter(own).map(|item| item.get().to_owned()).collect()
    };
    LISTS.iter().enumerate().flat_map(of_list).collect()
}

/// Two servers of which the first answers a method like this.
fn pair(method: &str, raw: &str) -> Rig {
    let mut odd = good("a");
    odd["raw"] = json!({ method: raw });
    Rig::new(specs(&["a", "b"]), vec![odd, good("b")], vec![])
}

/// Everything that an endpoint reads passes a strict reader.
fn assert_strict(frames: &[String]) {
    let read = |id: usize| result(frames, id).to_owned();
    serde_json::from_str::<rmcp::model::InitializeResult>(&read(0)).unwrap();
    serde_json::from_str::<rmcp::model::ListToolsResult>(&read(1)).unwrap();
    if frames.len() > 2 {
        serde_json::from_str::<rmcp::model::ListPromptsResult>(&read(2)).unwrap();
        serde_json::from_str::<rmcp::model::ListResourcesResult>(&read(3)).unwrap();
        serde_json::from_str::<rmcp::model::ListResourceTemplatesResult>(&read(4)).unwrap();
    }
    for frame in frames {
        let value: Value = serde_json::from_str(frame).unwrap_or_else(|error| panic!("{error}: {frame}"));
        let result = &value["result"];
        for capability in result["capabilities"].as_object().into_iter().flatten() {
            assert!(capability.1.is_object(), "{frame}");
        }
        for tool in result["tools"].as_array().into_iter().flatten() {
            let schema = &tool["inputSchema"];
            assert!(schema["type"] == "object" && (schema["properties"].is_object() || schema["properties"].is_null()));
        }
    }
}

#[test]
fn whatever_is_odd_about_one_member_is_told_once_and_costs_the_others_nothing() {
    let untouched = read_all(&mut Rig::new(specs(&["a", "b"]), vec![good("a"), good("b")], vec![]));
    let lists = r#""capabilities":{"tools":{},"prompts":{},"resources":{}},"#;
    let deep = |what: &str| format!(r#"{{"name":"a_t","inputSchema":{{"type":"object","x":{what}}}}}"#);
    let nested = deep(&format!("{}{}", "[".repeat(500), "]".repeat(500)));
    for (method, raw, said) in [
        ("initialize", r#"{"capabilities":{"resources":[],"tools":[],"prompts":[],"logging":[]}}"#.to_owned(), true),
        ("initialize", format!(r#"{{{lists}"instructions":"a\ud83d"}}"#), true),
        ("initialize", format!(r#"{{{lists}"serverInfo":[],"protocolVersion":20250618,"_meta":[]}}"#), true),
        ("initialize", format!(r#"{{{lists}"x":1e999,"instructions":null,"instructions":["a"]}}"#), true),
        ("initialize", format!(r#"{{{lists}"protocolVersion":"0","protocolVersion":"zzz","serverInfo":{{}}}}"#), true),
        (
            "initialize",
            format!(
                "{{{lists}\"protocolVersion\":\"2025-06-18\",\"serverInfo\":{{\"name\":\"s\0\",\"version\":\"1\"}}}}"
            ),
            false,
        ),
        ("initialize", "[]".to_owned(), true),
        ("tools/list", r#"{"tools":[{"name":"a_t","inputSchema":[]}]}"#.to_owned(), true),
        (
            "tools/list",
            r#"{"tools":[{"name":"a_t","inputSchema":{"type":"object","properties":[]}}]}"#.to_owned(),
            true,
        ),
        ("tools/list", r#"{"tools":[{"name":"a_t","title":"\ud83d","description":null}],"_meta":[]}"#.to_owned(), true),
        ("tools/list", r#"{"\ud83d":"\ud83d","tools":[{"name":"a_t","uri":5,"uriTemplate":[]}]}"#.to_owned(), true),
        ("tools/list", r#"{"tools":[{"name":"x","name":"a_t"},null,{},"x",{"name":7}]}"#.to_owned(), true),
        ("tools/list", deep("1e999").replace("{\"name", "{\"tools\":[{\"name") + "]}", true),
        ("tools/list", format!(r#"{{"tools":[{nested}]}}"#), true),
        ("tools/list", r#"{"tools":{"0":{"name":"a_t"}}}"#.to_owned(), true),
        ("tools/list", "{}".to_owned(), true),
        ("prompts/list", r#"{"prompts":[{"name":"a_p","arguments":{"x":1}}]}"#.to_owned(), true),
        ("resources/list", r#"{"resources":[{"uri":"a:r","annotations":[],"size":"big"}]}"#.to_owned(), true),
        (
            "resources/templates/list",
            r#"{"resourceTemplates":[{"uriTemplate":"a:{id}","mimeType":[]}]}"#.to_owned(),
            true,
        ),
    ] {
        let mut rig = pair(method, &raw);
        let frames = read_all(&mut rig);
        assert_eq!(items_of_b(&frames), items_of_b(&untouched), "{method} {raw}");
        assert_strict(&frames);
        let welcome: Value = serde_json::from_str(result(&frames, 0)).unwrap();
        assert_eq!(welcome["protocolVersion"], "2024-11-05", "{welcome}");
        let notes = |rig: &Rig| {
            let about = |note: &&String| note.contains(&format!(" {method},")) || note.contains(&format!(" {method}:"));
            rig.sink.notes.iter().filter(about).count()
        };
        assert_eq!(notes(&rig), usize::from(said), "{method} {raw}: {:?}", rig.sink.notes);
        // Tools are called, of the other server and of the odd one, and nothing is said again in another life.
        rig.endpoint(&call(90, "b_t"));
        assert_eq!(rig.at_server(1).pop().unwrap()["params"]["name"], "b_t");
        rig.down(0, 0);
        rig.up(0);
        rig.pass(10);
        assert_eq!(notes(&rig), usize::from(said), "{method} {raw}: {:?}", rig.sink.notes);
    }
}

#[test]
fn half_a_character_in_the_handshake_costs_a_server_nothing_that_it_lists() {
    let raw = r#"{"capabilities":{"resources":[],"prompts":{},"tools":{}},"instructions":"a\ud83d","title":"\ud83d"}"#;
    let frames = read_all(&mut pair("initialize", raw));
    for uri in ["\"a:r\"", "\"a:{id}\"", "\"a_p\"", "\"a_t\"", "a: a\u{fffd}"] {
        assert!(frames.iter().any(|frame| frame.contains(uri)), "{uri}: {frames:?}");
    }
}

#[test]
fn what_an_earlier_run_remembered_is_mended_as_well() {
    let mut memory = Memory { welcome: r#"{"capabilities":{"resources":[]}}"#.into(), ..Memory::default() };
    memory.lists.set(ListKind::Tools, vec![r#"{"name":"a_t","inputSchema":[],"title":"\ud83d"}"#.into(), "5".into()]);
    let mut rig = Rig::new(specs(&["a", "b"]), vec![good("a"), good("b")], vec![Some(memory)]);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    rig.endpoint(r#"{"id":1,"method":"tools/list"}"#);
    let frames = std::mem::take(&mut rig.sink.endpoint);
    assert_strict(&frames);
    assert!(frames[1].contains("a_t") && frames[1].contains("b_t"), "{frames:?}");
}

/// JSON that a server may have put where something else belongs.
fn odd_value() -> impl Strategy<Value = String> {
    let simple = ["[]", "{}", "null", "0", "1e999", "\"\"", "\"\\ud83d\"", "false", "[null]", "{\"a\":1,\"a\":[]}"];
    let deep = (1..400usize).prop_map(|n| format!("{}{}", "{\"a\":".repeat(n), "0".to_owned() + &"}".repeat(n)));
    prop_oneof![
        4 => prop::sample::select(simple.to_vec()).prop_map(str::to_owned),
        4 => object::tests::raw_value(),
        1 => deep,
    ]
}

/// The places of all values in JSON that has no strings with braces in them.
fn places(text: &str) -> Vec<std::ops::Range<usize>> {
    fn walk(text: &str, whole: &str, found: &mut Vec<std::ops::Range<usize>>) {
        let at = text.as_ptr().addr() - whole.as_ptr().addr();
        found.push(at..at + text.len());
        for member in object::members(text).into_iter().flatten() {
            walk(member.value, whole, found);
        }
        if let Ok(items) = serde_json::from_str::<Vec<&serde_json::value::RawValue>>(text) {
            items.iter().for_each(|item| walk(item.get(), whole, found));
        }
    }
    let mut found = Vec::new();
    walk(text, text, &mut found);
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_stands_anywhere_in_what_a_server_says_the_items_of_the_others_stay_byte_for_byte(
        value in odd_value(),
        place in any::<prop::sample::Index>(),
        which in 0..5usize,
    ) {
        let untouched = read_all(&mut Rig::new(specs(&["a", "b"]), vec![good("a"), good("b")], vec![]));
        let (method, mut raw) = match LISTS.get(which) {
            Some((list, _)) => (*list, good("a")[list].to_string()),
            None => ("initialize", json!({"protocolVersion": "2025-06-18", "capabilities": good("a")["capabilities"], "serverInfo": {"name": "s", "version": "1"}, "instructions": "x"}).to_string()),
        };
        let places = places(&raw);
        raw.replace_range(places[place.index(places.len())].clone(), &value);
        let mut rig = pair(method, &raw);
        let frames = read_all(&mut rig);
        prop_assert_eq!(items_of_b(&frames), items_of_b(&untouched));
        assert_strict(&frames);
        rig.endpoint(&call(90, "b_t"));
        prop_assert_eq!(&rig.at_server(1).pop().unwrap()["params"]["name"], "b_t");
    }
}

#[test]
fn a_server_that_declares_no_tools_and_has_none_is_asked_once_in_its_life_and_when_it_calls_the_list_changed() {
    for answer in ["-32602", "-32603", "0", "result"] {
        let mut odd = json!({"capabilities": {"prompts": {}, "resources": {}}});
        odd["prompts/list"] = json!({"prompts": []});
        odd["resources/list"] = json!({"resources": []});
        let mut rig = Rig::new(specs(&["a", "b"]), vec![odd, good("b")], vec![]);
        // The server answers list requests for what it doesn't have with an error, or with something that is no list.
        let refuse = |rig: &mut Rig| -> Vec<String> {
            let asked: Vec<Value> = rig.at_server(0);
            for frame in &asked {
                let code: i32 = answer.parse().unwrap_or_default();
                let refusal = if answer == "result" && frame["method"] == "tools/list" {
                    json!({"jsonrpc": "2.0", "id": frame["id"], "result": {}}).to_string()
                } else {
                    error(&frame["id"], code.min(-32601), "unknown")
                };
                rig.server(0, &refusal);
            }
            asked.iter().map(|frame| frame["method"].as_str().unwrap().to_owned()).collect()
        };
        rig.up(1);
        rig.up(0);
        rig.link_up();
        rig.endpoint(&hello(0));
        let first = refuse(&mut rig);
        assert_eq!(first.iter().filter(|method| *method == "tools/list").count(), 1, "{first:?}");
        let mut later = Vec::new();
        for _ in 0..100 {
            rig.pass(10);
            later.extend(refuse(&mut rig));
        }
        later.retain(|method| method == "tools/list" || answer == "-32602");
        assert!(later.is_empty(), "{answer}: asked for ever: {later:?}");
        rig.server(0, r#"{"method":"notifications/tools/list_changed"}"#);
        assert_eq!(refuse(&mut rig), ["tools/list"], "{answer}");
        rig.down(0, 0);
        rig.up(0);
        assert!(refuse(&mut rig).contains(&"tools/list".to_owned()));
        assert!(!rig.sink.notes.iter().any(|note| note.contains("tools/list")), "{:?}", rig.sink.notes);
    }
}

#[test]
fn tools_that_are_not_declared_are_listed_all_the_same_and_not_lost_by_an_error() {
    let mut odd = good("a");
    odd["capabilities"] = json!({});
    let mut rig = Rig::new(specs(&["a", "b"]), vec![odd, good("b")], vec![]);
    rig.begin();
    assert_eq!(rig.tools(), ["a_t", "b_t"]);
    rig.offers[0]["tools/list"] = Value::Null;
    rig.server(0, CHANGED);
    let asked = rig.at_server(0).pop().unwrap();
    rig.server(0, &error(&asked["id"], -32603, "database is locked"));
    assert_eq!(rig.tools(), ["a_t", "b_t"], "it has them");
    rig.pass(6);
    assert_eq!(rig.at_server(0).pop().unwrap()["method"], "tools/list", "and is asked again");
}

#[test]
fn why_a_list_fails_is_told_once_as_long_as_it_is_the_same() {
    let mut odd = good("a");
    odd["tools/list"] = Value::Null;
    let mut rig = Rig::new(specs(&["a", "b"]), vec![odd, good("b")], vec![]);
    rig.up(0);
    rig.up(1);
    rig.link_up();
    rig.endpoint(&hello(0));
    let told = |rig: &mut Rig, why: &str| {
        for _ in 0..40 {
            for asked in rig.at_server(0) {
                rig.server(0, &error(&asked["id"], -32603, why));
            }
            rig.pass(10);
        }
        let notes = std::mem::take(&mut rig.sink.notes);
        notes.iter().filter(|note| note.contains("tools/list") && note.contains(why)).count()
    };
    assert_eq!((told(&mut rig, "locked"), told(&mut rig, "locked"), told(&mut rig, "broken")), (1, 0, 1));
}

#[test]
fn a_server_that_lists_more_than_there_is_room_for_takes_none_of_the_others() {
    // The largest message is 1 MiB.
    let large = |names: &[String]| {
        let tool = |name| json!({"name": name, "description": "x".repeat(100_000), "inputSchema": {"type": "object"}});
        json!({"capabilities": {"tools": {}}, "tools/list": {"tools": names.iter().map(tool).collect::<Vec<_>>()}})
    };
    let names: Vec<String> = (0..20).map(|n| format!("a{n}")).collect();
    let mut rig = Rig::new(specs(&["a", "b", "c"]), vec![large(&names), good("b"), large(&names[..2])], vec![]);
    rig.begin();
    let listed = rig.tools();
    let of = |prefix: &str| listed.iter().filter(|name| name.starts_with(prefix)).count();
    assert_eq!((of("b_t"), of("c__a")), (1, 2), "{listed:?}");
    assert!((7..=8).contains(&(listed.len() - 3)), "{listed:?}");
}
