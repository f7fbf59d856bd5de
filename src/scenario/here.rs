//! Base URLs of what runs on this machine: no other may receive traffic.

const HOSTS: [&str; 2] = ["http://127.0.0.1:", "http://[::1]:"];

/// Is it one, of an address of this machine with a port, or with what stands for one?
pub(super) fn is_base_url(text: &str, stands_for_port: impl Fn(&str) -> bool) -> bool {
    let Some(rest) = HOSTS.iter().find_map(|host| text.strip_prefix(host)) else {
        return false;
    };
    let (port, path) = rest.split_once('/').unwrap_or((rest, ""));
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    (is_port(port) || stands_for_port(port)) && path.chars().all(is_plain)
}

fn is_port(text: &str) -> bool {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    is_number && text.parse::<u16>().is_ok_and(|port| port > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_this_machine_is_here() {
        for (text, is_here) in [
            ("http://127.0.0.1:4000", true),
            ("http://127.0.0.1:4000/v1/", true),
            ("http://[::1]:4000/v1", true),
            ("http://127.0.0.1:PORT/v1", true),
            ("http://127.0.0.1/v1", false),
            ("http://127.0.0.1:0", false),
            ("http://127.0.0.1:+80", false),
            ("http://127.0.0.1:65536", false),
            ("http://127.0.0.1:80@example.com/v1", false),
            ("http://127.0.0.1:80/v1?key=1", false),
            ("http://127.0.0.1.example.com:80/v1", false),
            ("http://[::1].example.com:80/v1", false),
            ("http://[::2]:80/v1", false),
            ("http://localhost:80/v1", false),
            ("https://127.0.0.1:80/v1", false),
        ] {
            assert_eq!(is_base_url(text, |port| port == "PORT"), is_here, "{text}");
        }
    }
}
