//! Addresses of endpoints that were broken on their way into `.env`.

use super::*;
use crate::secrecy::Redactor;

const H: &str = "wss://h.example/mcp/?token=";

/// What is warned of, and that nothing of the second piece goes to a server or is shown.
fn told(dotenv: &str, piece: &str) -> String {
    let case = Case::server(r#""args": []"#).no_env().file(".env", dotenv);
    match case.run(&[]) {
        Ok(resolved) => {
            let env = own_env(&resolved.config.servers[0]);
            assert!(env.iter().all(|(name, value)| !format!("{name}={value}").contains(piece)), "{dotenv}: {env:?}");
            let redactor: Redactor = resolved.secrets.iter().cloned().collect();
            assert!(!redactor.clean(&format!("got {piece} there")).contains(piece), "{dotenv}");
            let said = case.lines(&resolved.warnings).join("\n");
            assert!(!said.contains(piece), "{said}");
            said
        }
        Err(problems) => {
            assert!(!problems.to_string().contains(piece), "{problems}");
            case.lines(&[problems.mistakes, problems.warnings].concat()).join("\n")
        }
    }
}

#[test]
fn the_rest_of_an_address_in_the_next_line_is_told_and_withheld_from_servers() {
    for (dotenv, piece) in [
        ("MCP_ENDPOINT=@FIRSThalf98765432\nSECONDhalf12345678==\n", "SECONDhalf12345678"),
        ("MCP_ENDPOINT=@FIRSThalf98765432\nSECONDhalf12345678=\nA=1\n", "SECONDhalf12345678"),
        ("MCP_ENDPOINT=@FIRSThalf98765432\nSECONDhalf12345678=3D=3D\n", "SECONDhalf12345678"),
        ("MCP_ENDPOINT=@FIRSThalf98765432\nSECONDhalf12345678=3D\n", "SECONDhalf12345678"),
        ("MCP_ENDPOINT=@FIRSThalf98765432\nSECONDHALF12345678=%3D&v=1\n", "SECONDHALF12345678"),
        ("MCP_ENDPOINT=@FIRSThalf98765432\r\n  sec0nd==\r\n", "sec0nd"),
        ("export MCP_ENDPOINT=@FIRSThalf98765432\nsecond-1_half==\n", "second-1_half"),
        ("XIAOZHI=@x\nMCP_ENDPOINT=@FIRSThalf98765432\nSECONDhalf12345678=\n", "SECONDhalf12345678"),
        // Right before the token, and amid the name of its parameter.
        ("MCP_ENDPOINT=wss://h.example/mcp/?\ntoken=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/?v=1&\ntoken=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/\ntoken=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/\n?token=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/?tok\nen=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/?token=\nGOODtoken98765432==\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.example/mcp/?token\n=GOODtoken98765432\n", "GOODtoken98765432"),
        ("MCP_ENDPOINT=wss://h.ex\nample/mcp/?token=GOODtoken98765432\n", "GOODtoken98765432"),
        // As a piece that is no NAME=value.
        ("MCP_ENDPOINT=@9876\n543210xyz\n", "543210xyz"),
        ("MCP_ENDPOINT=@9876=\n543210xyz\n", "543210xyz"),
        ("MCP_ENDPOINT=@eyJhbGciOiJF\nUzI1NiJ9.c2Vj-cm_V0IQ.s3cr3t\n", "UzI1NiJ9.c2Vj-cm_V0IQ.s3cr3t"),
        ("MCP_ENDPOINT=@9876\n543210xyz&v=1\n", "543210xyz"),
    ] {
        let said = told(&dotenv.replace('@', H), piece);
        let line = if dotenv.starts_with('X') { (2, 3) } else { (1, 2) };
        let want = format!(
            "DIR/.env:{}: looks like the rest of the address of line {} and is ignored; write the address on one line",
            line.1, line.0
        );
        assert!(said.contains(&want), "{dotenv}: {said}");
    }
    let thrice = told(&format!("MCP_ENDPOINT={H}9876\n543210xyz\nabcDEF99=\nA=1\n"), "abcDEF99");
    assert_eq!(thrice.matches("looks like the rest of the address of line 1").count(), 2, "{thrice}");
}

#[test]
fn an_address_that_a_quote_or_a_shell_carries_into_the_next_line_is_told_to_go_on_one_line() {
    for (dotenv, piece, what) in [
        (
            "MCP_ENDPOINT=\"@9876\n543210xyz\"\n",
            "543210xyz",
            "close it on the same line: the whole address belongs on one",
        ),
        (
            "MCP_ENDPOINT=@9876\\\n543210xyz\n",
            "543210xyz",
            "ends with \\, which is no part of an address; remove it; if",
        ),
        (
            "MCP_ENDPOINT=@9876\\\n543210xyz\n",
            "543210xyz",
            "looks like the rest of the address of line 1 and is ignored",
        ),
        (
            "MCP_ENDPOINT=\"@9876\n543210xyz\"\n",
            "543210xyz",
            "looks like the rest of the address of line 1 and is ignored",
        ),
        ("MCP_ENDPOINT=\\\n@543210xyz\n", "543210xyz", "looks like the rest of the address of line 1 and is ignored"),
        (
            "MCP_ENDPOINT=\n@543210xyz\n",
            "543210xyz",
            "is not set: DIR/.env:2 looks like the rest of the address of line 1",
        ),
        ("MCP_ENDPOINT=\"@543210xyz\\\"\n", "543210xyz", "remove the \\ before the closing quote"),
        ("MCP_ENDPOINT=\"@543210xyz\\\" # mine\n", "543210xyz", "remove the \\ before the closing quote"),
        (
            "MCP_ENDPOINT=@x1y2z3\n\n@543210xyz\n",
            "543210xyz",
            "is not NAME=value but an address alone and is ignored; the endpoint is set already: remove one of the two",
        ),
        (
            "@543210xyz\nMCP_ENDPOINT=@x1y2z3\n",
            "543210xyz",
            "is not NAME=value but an address alone and is ignored; the endpoint is set already: remove one of the two",
        ),
    ] {
        let case = Case::server(r#""args": []"#).no_env().file(".env", dotenv.replace('@', H));
        let said = match case.run(&[]) {
            Ok(resolved) => case.lines(&resolved.warnings).join("\n"),
            Err(problems) => case.lines(&[problems.mistakes, problems.warnings].concat()).join("\n"),
        };
        assert!(said.contains(what) && !said.contains(piece) && !said.contains("\\n"), "{dotenv}: {said}");
    }
}

#[test]
fn a_variable_behind_an_address_stays_one() {
    for line in [
        "LOG_LEVEL=debug",
        "EMPTY=",
        "Path=",
        "my_key_2=",
        "MODE=3D",
        "API_KEY=abcDEF123456==",
        "region=eu",
        "A==B",
        "B2_KEY=",
        "token2=x",
    ] {
        for address in
            [format!("{H}FIRSThalf98765432"), format!("{H}first-98765432 # mine"), format!("\"{H}first-98765432\"")]
        {
            let case = Case::server(r#""args": []"#).no_env();
            let resolved = case.file(".env", format!("MCP_ENDPOINT={address}\n{line}\n")).ok(&[]);
            assert!(resolved.warnings.is_empty(), "{line}: {:?}", resolved.warnings);
            let (name, value) = line.split_once('=').unwrap();
            assert!(own_env(&resolved.config.servers[0]).contains(&(name, value)), "{line}");
        }
    }
    let token =
        Case::server(r#""args": []"#).no_env().file(".env", format!("MCP_ENDPOINT={H}first-98765432\n\ntoken=x\n"));
    assert!(token.warnings(&[]).is_empty());
}

#[test]
fn what_mails_and_web_pages_made_of_an_address_is_told_with_what_to_write() {
    for (address, want) in [
        (
            "wss://api.xiaozhi.me/mcp/?token=3DeyJs3cr3t-s3cr3t",
            "has 3D before its token, as mails write =; remove 3D, unless",
        ),
        ("wss://h/?v=1&token=3Ds3cr3t-s3cr3t", "has 3D before its token, as mails write =; remove 3D, unless"),
        ("wss://api.xiaozhi.me/mcp/?token%3Ds3cr3t", "has %3D before its token in place of =; write = for %3D"),
        (
            "wss://api.xiaozhi.me/mcp/?a=1&amp;token=s3cr3t-s3cr3t",
            "has &amp; before its token, as web pages write &; write & for &amp;",
        ),
    ] {
        let case = Case::server(r#""args": []"#).no_env().env(&[("MCP_ENDPOINT", address)]);
        let said = case.warnings(&[]);
        assert!(said.len() == 1 && said[0].contains(want) && !said[0].contains("s3cr3t"), "{address}: {said:?}");
    }
    let case = Case::server(r#""args": []"#).no_env().env(&[("MCP_ENDPOINT", "wss://h/?token=Bearer s3cr3t")]);
    let want = "has the word Bearer before its token, as a header has; remove that word and the blank behind it";
    assert!(case.mistakes(&[])[0].ends_with(want), "{:?}", case.mistakes(&[]));
}

#[test]
fn a_file_of_which_nothing_counts_is_the_reason_why_no_endpoint_is_set() {
    let nothing = || Case::server(r#""args": []"#).no_env();
    for (bytes, want) in [
        (
            &b"\xff\xfeM\0C\0P\0"[..],
            "is not UTF-8 and is ignored, so there is nowhere to serve a; save it as UTF-8 (Windows PowerShell",
        ),
        (
            b"# \xc4\xe3\xba\xc3\nMCP_ENDPOINT=x",
            "is not UTF-8 and is ignored, so there is nowhere to serve a; save it as UTF-8",
        ),
    ] {
        let case = nothing().file(".env", bytes);
        let told = case.run(&[]).unwrap_err();
        let mistakes = case.lines(&told.mistakes);
        assert!(mistakes.len() == 1 && told.warnings.is_empty(), "{told}");
        assert!(mistakes[0].starts_with("MCP_ENDPOINT: is not set: DIR/.env is not UTF-8"), "{mistakes:?}");
        assert!(mistakes[0].contains(want), "{mistakes:?}");
        assert_eq!(mistakes[0].contains("PowerShell"), bytes.starts_with(b"\xff"), "{mistakes:?}");
    }
    let folder = nothing().file(".env/x", "");
    let said = folder.mistakes(&[]).join("");
    assert!(said.contains("is not set: DIR/.env is a folder, not a file, and is ignored, so"), "{said}");
    #[cfg(unix)]
    {
        let case = nothing();
        std::os::unix::fs::symlink("/nonexistent/x", case.dir.path().join(".env")).unwrap();
        let said = case.mistakes(&[]).join("");
        let want = "is not set: DIR/.env is a link to /nonexistent/x, which does not exist, and is ignored, so";
        assert!(said.contains(want) && said.ends_with("; correct the link"), "{said}");
    }
}
