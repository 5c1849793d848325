-- wrk script: posts track calls as Segment's server clients write them, each with a message id of its own.
-- Arguments after --: messages per request, write key, seed. One message is posted by itself, several as a batch.
local messages, key, seed = 1, "", 0
local counter = 0

function init(args)
  messages = tonumber(args[1]) or 1
  key = args[2] or key
  seed = tonumber(args[3]) or 0
  math.randomseed(seed)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["User-Agent"] = "analytics-node-next/latest"
  now = os.time()
  stamp = os.date("!%Y-%m-%dT%H:%M:%S", now)
end

local function message()
  counter = counter + 1
  local id = string.format("node-next-%d-%08x-%04x-4%03x-8%03x-%04x%08x", now * 1000 + math.floor(counter / 8),
    math.random(0, 2147483647), counter % 65536, math.random(0, 4095), seed % 4096, math.random(0, 65535), counter)
  local visitor = string.format("%08x-%04x-4000-8000-%012x", counter % 5000, seed % 65536, counter % 5000) -- a user's own
  return string.format('"type":"track","event":"Report Exported","messageId":"%s","anonymousId":"%s","userId":"user-%d",' ..
    '"timestamp":"%s.%03d000+00:00","integrations":{},"context":{"library":{"name":"@segment/analytics-node","version":"3.1.0"},' ..
    '"page":{"path":"/boards/%d","title":"Board charts for teams","url":"https://app.example/boards/%d?tab=overview"},' ..
    '"campaign":{"name":"spring","source":"newsletter","medium":"email"},"locale":"en-GB","timezone":"Europe/Berlin"},' ..
    '"properties":{"format":"pdf","pages":%d,"plan":"standard","board":"Sales by region","shared":true}',
    id, visitor, counter % 5000, stamp, counter % 1000, counter % 97, counter % 97, counter % 40)
end

function request()
  if messages == 1 then
    return wrk.format(nil, "/v1/track", nil, "{" .. message() .. ',"writeKey":"' .. key .. '","sentAt":"' .. stamp .. '.999Z"}')
  end
  local parts = {}
  for i = 1, messages do parts[i] = "{" .. message() .. "}" end
  return wrk.format(nil, "/v1/batch", nil,
    '{"writeKey":"' .. key .. '","sentAt":"' .. stamp .. '.999Z","batch":[' .. table.concat(parts, ",") .. "]}")
end
