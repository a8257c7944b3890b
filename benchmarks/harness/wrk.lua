-- Questions for wrk, and a look at every answer. Thread t sends the requests FOLDER/<t>-<i>.http in turn, all of one
-- label, which FOLDER/<t>.label holds: an answer that went to the wrong client shows.
--
--   wrk ... -s wrk.lua http://127.0.0.1:PORT -- FOLDER N_GROUPS FIRST_GROUP

local threads = {}

function setup(thread)
  thread:set("number", #threads)
  table.insert(threads, thread)
end

local function read(path)
  local file = io.open(path, "rb")
  if not file then return nil end
  local content = file:read("*a")
  file:close()
  return content
end

function init(args)
  local group = (number + tonumber(args[3])) % tonumber(args[2])
  local label = read(args[1] .. "/" .. group .. ".label")
  pattern = '"label"%s*:%s*"' .. label:gsub("%p", "%%%0") .. '"'
  questions, n_right, n_wrong, n_refused, at = {}, 0, 0, 0, 0
  while true do
    local question = read(args[1] .. "/" .. group .. "-" .. #questions .. ".http")
    if not question then break end
    table.insert(questions, question)
  end
end

function request()
  at = at % #questions + 1
  return questions[at]
end

function response(status, headers, body)
  if status ~= 200 then
    n_refused = n_refused + 1
  elseif body:find(pattern) then
    n_right = n_right + 1
  else
    n_wrong = n_wrong + 1
  end
end

function done(summary, latency, requests)
  local right, wrong, refused = 0, 0, 0
  for _, thread in ipairs(threads) do
    right = right + thread:get("n_right")
    wrong = wrong + thread:get("n_wrong")
    refused = refused + thread:get("n_refused")
  end
  local errors = summary.errors
  io.write(string.format(
    '{"n_right": %d, "n_wrong": %d, "n_refused": %d, "n_broken": %d, "seconds": %.4f, "p50_ms": %.3f, "p99_ms": %.3f}\n',
    right, wrong, refused, errors.connect + errors.read + errors.write + errors.timeout,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3))
end
