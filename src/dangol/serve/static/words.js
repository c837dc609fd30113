// Every word on the page, in Korean and English.

export const WORDS = {
  ko: {
    skip: "본문으로", as_of: "데이터 기준", theme: "밝게 또는 어둡게", title: "dangol · 지금",
    key_ask: "이 서버는 열쇠(API key)가 필요해요.", key_use: "열기",
    empty_title: "아직 들어온 구매가 없어요.",
    empty_text: "아래 시뮬레이터를 시작하거나, 구매 한 줄을 보내 보세요.",
    rate: "지금 들어오는 속도", per_second: "줄/초", two_minutes: "2분 전", now: "지금",
    spark: "최근 2분의 속도, 가장 빠를 때 초당 {n}줄",
    delay: "반영 지연", delay_hint: "들어와서 디스크에 확정되기까지 (p99)",
    commit: "커밋 p50 / p99", waiting: "대기",
    people: "고객", people_unit: "명", people_hint: "취소하고도 남은 구매가 있는 고객",
    people_all: "상태가 있는 고객", moves: "등급 이동",
    segments: "고객 등급", share: "등급 비율", latest: "방금 옮겨 간 고객", all_changes: "전체 (JSON)",
    no_changes: "아직 옮겨 간 고객이 없어요.", none_line: "남은 구매가 없어 등급이 없는 고객 {n}명",
    customers_n: "{n}명", sales: "매출", others: "그 밖에", of_sales: "매출의 {n}",
    counts: "들어온 줄은 모두 어디로 갔나", lines_in: "줄 들어옴 =",
    accepted: "반영", anonymous: "고객 없음", rejected: "거절", duplicates: "중복",
    simulator: "시뮬레이터", sim_file: "무엇을", sim_how: "어떻게", sim_rate: "일정한 속도로",
    sim_speed: "실제 시간의 몇 배로", sim_max: "되는 대로 빠르게", unit_rate: "줄/초", unit_speed: "배속",
    start: "시작", pause: "잠깐 멈춤", go_on: "이어서", stop: "끝내기", apply: "속도 바꾸기",
    generated: "만들어 낸 가게", sim_note: "{sent}줄 보냄 · {done}줄 확정 · 초당 {rate}줄",
    idle: "쉬는 중", running: "보내는 중", paused: "멈춤", finished: "다 보냄", stopped: "끝냄", failed: "실패",
    online: "실시간", offline: "연결 끊김", metrics: "지표", rejects: "거절된 줄",
    model_starting: "시작 모델 사용 중 · 데이터가 쌓이면 dangol fit --promote 로 다시 맞추세요",
    model: "모델 {version}판 · {name}", fitted: "이 상점에 맞춤", starting: "시작 모델",
    vip: "우수 VIP", dormant: "휴면 이탈", mid: "중고가치 일반", low: "저가치 일반", none: "등급 없음",
    by_events: "구매·취소", by_time: "시간 경과", by_model: "새 모델", by_erase: "삭제", to: "에서",
    foot: "버전 {version} · 커밋 {batches}번 · 디스크 {disk} · 취소 짝지음 {matched} / 일부 {partly} / 못 찾음 {unmatched}",
  },
  en: {
    skip: "To the content", as_of: "Data as of", theme: "Light or dark", title: "dangol · now",
    key_ask: "This server asks for its API key.", key_use: "Open",
    empty_title: "No purchase has come in yet.",
    empty_text: "Start the simulator below, or send one line:",
    rate: "Coming in now", per_second: "lines/s", two_minutes: "2 min ago", now: "now",
    spark: "Rate of the last two minutes, at most {n} lines a second",
    delay: "Delay", delay_hint: "from coming in to committed on disk (p99)",
    commit: "Commit p50 / p99", waiting: "Waiting",
    people: "Customers", people_unit: "", people_hint: "with a purchase left after cancellations",
    people_all: "With a state", moves: "Segment moves",
    segments: "Segments", share: "Share of segments", latest: "Just moved", all_changes: "All (JSON)",
    no_changes: "Nobody has moved yet.", none_line: "{n} customers have no purchase left and so no segment",
    customers_n: "{n}", sales: "Sales", others: "others", of_sales: "{n} of sales",
    counts: "Where every line went", lines_in: "lines in =",
    accepted: "Accepted", anonymous: "Anonymous", rejected: "Rejected", duplicates: "Duplicates",
    simulator: "Simulator", sim_file: "What", sim_how: "How", sim_rate: "At a steady rate",
    sim_speed: "At a multiple of its own time", sim_max: "As fast as it goes", unit_rate: "lines/s",
    unit_speed: "times",
    start: "Start", pause: "Pause", go_on: "Go on", stop: "Stop", apply: "Change rate",
    generated: "A generated shop", sim_note: "{sent} sent · {done} durable · {rate} lines/s",
    idle: "Idle", running: "Sending", paused: "Paused", finished: "All sent", stopped: "Stopped", failed: "Failed",
    online: "Live", offline: "Not connected", metrics: "Metrics", rejects: "Rejected lines",
    model_starting: "Starting model in use · with enough data, run dangol fit --promote",
    model: "Model version {version} · {name}", fitted: "fitted to this shop", starting: "starting model",
    vip: "VIP", dormant: "Dormant", mid: "Mid-high value", low: "Low value", none: "No segment",
    by_events: "Purchase or return", by_time: "Time passed", by_model: "New model", by_erase: "Erased", to: "to",
    foot: "Version {version} · {batches} commits · {disk} on disk · cancellations matched {matched} / partly {partly} / unmatched {unmatched}",
  },
};

export let lang = "ko";

export function setLang(next) {
  lang = next in WORDS ? next : "ko";
}

export function t(key, values = {}) {
  const text = WORDS[lang][key] ?? key;
  return text.replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

export function number(value, digits = 0) {
  return new Intl.NumberFormat(lang, { maximumFractionDigits: digits }).format(value);
}

export function percent(part) {
  return new Intl.NumberFormat(lang, { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 }).format(part);
}

export function compact(value) {
  return new Intl.NumberFormat(lang, { notation: "compact", maximumFractionDigits: 1 }).format(value);
}

export function bytes(value) {
  const units = ["B", "KB", "MB", "GB", "TB"];
  let place = 0;
  while (value >= 1000 && place < units.length - 1) {
    value /= 1000;
    place += 1;
  }
  return `${number(value, place ? 1 : 0)} ${units[place]}`;
}

// The shop's time is shown as it is recorded, in UTC, never moved to the reader's zone.
export function moment(iso, seconds = false) {
  const options = { timeZone: "UTC", dateStyle: "medium", timeStyle: seconds ? "medium" : "short", hourCycle: "h23" };
  return new Intl.DateTimeFormat(lang === "ko" ? "ko-KR" : "en-GB", options).format(new Date(iso));
}
