//! A practice tenant that tells the truth, and somebody in front of it who does not: every answer can be replaced or
//! twisted on its way, down to the bytes on the connection.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rosterd::practice::Options;
use rosterd::scim::http_client;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use url::Url;

use crate::home::Home;
use crate::rig::{Rig, runtime};

const BASE: &str = "/api/v2/scim/v2";
const BETWEEN_DRIPS: Duration = Duration::from_millis(25);

/// A practice tenant, the liar in front of it, and a rosterd that knows the liar only.
pub(crate) struct Liar {
    /// The truth.
    pub(crate) rig: Rig,
    home: Home,
    lie: Arc<Mutex<Lie>>,
    calls: Arc<Mutex<Vec<String>>>,
    _runtime: Runtime,
}

impl Deref for Liar {
    type Target = Home;

    fn deref(&self) -> &Home {
        &self.home
    }
}

/// A call as the liar sees it.
pub(crate) struct Call {
    /// Method and path below the SCIM base: `GET /Users`.
    pub(crate) name: String,
    url: Url,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What is made of a call.
pub(crate) enum Told {
    /// The tenant's own answer.
    Truth,
    /// The tenant never hears of it.
    Instead(Answer),
    /// The tenant's answer, twisted.
    Twisted(Box<dyn FnOnce(Answer) -> Answer + Send>),
}

/// An answer on its way.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) manner: Manner,
}

/// How the bytes of a body are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// At once.
    Whole,
    /// Byte by byte, so slowly that the whole takes minutes, and never silent for long.
    Drip,
    /// Half of it, then the connection is reset.
    Reset,
    /// As often as this over, with the length announced.
    Times(usize),
    /// As often as this over, in chunks, so that nobody can know the length before the end.
    Chunks(usize),
}

type Lie = Box<dyn FnMut(&Call) -> Told + Send>;

impl Liar {
    /// Tells the truth until [`Self::tells`].
    pub(crate) fn new(options: Options) -> Self {
        let rig = Rig::live(options);
        let truth: Url = rig.practice().base_url().parse().unwrap();
        let runtime = runtime();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let lie: Arc<Mutex<Lie>> = Arc::new(Mutex::new(Box::new(|_| Told::Truth)));
        let calls = Arc::default();
        // Another test may have been first.
        drop(rustls::crypto::ring::default_provider().install_default());
        let front = Front { truth, client: http_client(Duration::from_mins(1)).unwrap(), lie, calls };
        let (lie, calls) = (front.lie.clone(), front.calls.clone());
        runtime.spawn(serve(listener, front));
        let token = rig.practice().token_url().parse::<Url>().unwrap();
        let home =
            Home::new(&format!("http://{address}{BASE}"), &format!("http://{address}{}", token.path()));
        Self { rig, home, lie, calls, _runtime: runtime }
    }

    /// From now on.
    pub(crate) fn tells(&self, lie: impl FnMut(&Call) -> Told + Send + 'static) {
        *self.lie.lock().unwrap() = Box::new(lie);
    }

    /// The next so many calls of this name are answered like this; all others truly.
    pub(crate) fn answers_next(
        &self,
        times: usize,
        name: &'static str,
        answer: impl Fn() -> Answer + Send + 'static,
    ) {
        let mut left = times;
        self.tells(move |call| {
            if left == 0 || call.name != name {
                return Told::Truth;
            }
            left -= 1;
            Told::Instead(answer())
        });
    }

    /// The truth again.
    pub(crate) fn honest(&self) {
        self.tells(|_| Told::Truth);
    }

    /// Calls of this name so far.
    pub(crate) fn count(&self, name: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| *call == name).count()
    }
}

impl Call {
    /// A parameter of the query.
    pub(crate) fn parameter(&self, name: &str) -> Option<String> {
        self.url.query_pairs().find(|(key, _)| key == name).map(|(_, value)| value.into_owned())
    }

    /// A page of all users or of some of them, not one of the two with which rosterd finds out whether `since` is
    /// understood.
    pub(crate) fn lists_users(&self) -> bool {
        self.name == "GET /Users" && self.parameter("count").as_deref() != Some("1")
    }
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), manner: Manner::Whole }
    }

    /// A SCIM error.
    pub(crate) fn refusal(status: u16) -> Self {
        let schema = "urn:ietf:params:scim:api:messages:2.0:Error";
        Self::new(status, json!({ "schemas": [schema], "status": status.to_string() }).to_string())
    }

    #[must_use]
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    #[must_use]
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        self
    }

    #[must_use]
    pub(crate) fn sent(self, manner: Manner) -> Self {
        Self { manner, ..self }
    }

    /// With its JSON changed.
    #[must_use]
    pub(crate) fn edited(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        let mut json = serde_json::from_slice(&self.body).unwrap();
        edit(&mut json);
        self.body = json.to_string().into_bytes();
        self
    }
}

/// The users of a list.
pub(crate) fn resources(list: &mut Value) -> &mut Vec<Value> {
    list["Resources"].as_array_mut().unwrap()
}

#[derive(Clone)]
struct Front {
    truth: Url,
    client: reqwest::Client,
    lie: Arc<Mutex<Lie>>,
    calls: Arc<Mutex<Vec<String>>>,
}

async fn serve(listener: TcpListener, front: Front) {
    let address = listener.local_addr().unwrap();
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let front = front.clone();
        connections.spawn(async move {
            // Whoever hangs up in the middle has had enough of us.
            drop(converse(stream, address, front).await);
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn converse(stream: TcpStream, address: SocketAddr, front: Front) -> io::Result<()> {
    let mut stream = BufReader::new(stream);
    while let Some(call) = read(&mut stream, address).await? {
        front.calls.lock().unwrap().push(call.name.clone());
        let told = (front.lie.lock().unwrap())(&call);
        let answer = match told {
            Told::Truth => front.ask(call).await,
            Told::Instead(answer) => answer,
            Told::Twisted(twist) => twist(front.ask(call).await),
        };
        if send(stream.get_mut(), answer).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read(stream: &mut BufReader<TcpStream>, address: SocketAddr) -> io::Result<Option<Call>> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let (method, rest) = lines.next().unwrap().split_once(' ').unwrap();
    let url: Url = format!("http://{address}{}", rest.split_once(' ').unwrap().0).parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let mut body = vec![0; length.map_or(0, |(_, length)| length.parse().unwrap())];
    stream.read_exact(&mut body).await?;
    let name = format!("{method} {}", url.path().strip_prefix(BASE).unwrap_or(url.path()));
    Ok(Some(Call { name, url, headers, body }))
}

impl Front {
    /// The tenant's own answer.
    async fn ask(&self, call: Call) -> Answer {
        let mut url = self.truth.clone();
        url.set_path(call.url.path());
        url.set_query(call.url.query());
        let method = call.name.split(' ').next().unwrap().parse().unwrap();
        let mut request = self.client.request(method, url).body(call.body);
        for (name, value) in call.headers {
            if !matches!(name.as_str(), "host" | "content-length" | "connection" | "accept-encoding") {
                request = request.header(name, value);
            }
        }
        let response = request.send().await.unwrap();
        let headers = response.headers().iter();
        let headers = headers
            .filter(|(name, _)| !matches!(name.as_str(), "content-length" | "connection"))
            .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()))
            .collect();
        let status = response.status().as_u16();
        Answer { status, headers, body: response.bytes().await.unwrap().into(), manner: Manner::Whole }
    }
}

/// Sends an answer; whether the connection is over.
async fn send(stream: &mut TcpStream, answer: Answer) -> io::Result<bool> {
    let Answer { status, headers, body, manner } = answer;
    let length = match manner {
        Manner::Times(times) => body.len() * times,
        _ => body.len(),
    };
    let mut head = format!("HTTP/1.1 {status} .\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    match manner {
        Manner::Chunks(_) => head.push_str("transfer-encoding: chunked\r\n\r\n"),
        _ if status == 204 => head.push_str("\r\n"),
        _ => write!(head, "content-length: {length}\r\n\r\n").unwrap(),
    }
    stream.write_all(head.as_bytes()).await?;
    match manner {
        Manner::Whole => stream.write_all(&body).await?,
        Manner::Times(times) => {
            for _ in 0..times {
                stream.write_all(&body).await?;
            }
        }
        Manner::Chunks(times) => {
            for _ in 0..times {
                stream.write_all(format!("{:x}\r\n", body.len()).as_bytes()).await?;
                stream.write_all(&body).await?;
                stream.write_all(b"\r\n").await?;
            }
            stream.write_all(b"0\r\n\r\n").await?;
        }
        Manner::Drip => {
            for byte in body {
                stream.write_all(&[byte]).await?;
                tokio::time::sleep(BETWEEN_DRIPS).await;
            }
        }
        Manner::Reset => {
            stream.write_all(&body[..body.len() / 2]).await?;
            stream.set_zero_linger()?;
            return Ok(true);
        }
    }
    Ok(false)
}
