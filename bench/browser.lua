-- wrk script: posts listing events to the browser's door, each with a message id of its own.
-- Arguments after --: events per request, app key, seed.
local events, app, seed = 1, "com.example.bench0", 0
local counter = 0

function init(args)
  events = tonumber(args[1]) or 1
  app = args[2] or app
  seed = tonumber(args[3]) or 0
  math.randomseed(seed)
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "text/plain;charset=UTF-8"
  wrk.headers["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
  wrk.headers["Accept-Language"] = "en-GB,en;q=0.9"
  now = os.time()
  stamp = os.date("!%Y-%m-%dT%H:%M:%S", now)
end

local function event()
  counter = counter + 1
  local milliseconds = now * 1000 + math.floor(counter / 8)
  local id = string.format("%08x-%04x-7%03x-8%03x-%04x%08x", math.floor(milliseconds / 65536), milliseconds % 65536,
    math.random(0, 4095), seed % 4096, math.random(0, 65535), counter)
  local visitor = string.format("%08x%032x", math.random(0, 2147483647), counter % 5000)
  return string.format('{"messageId":"%s","name":"page_view","app":"%s","occurredAt":"%s.%03dZ","anonymousId":"%s",' ..
    '"url":"https://marketplace.example/apps/1219125/board-charts-%d?hosting=cloud&tab=overview","referrer":"https://www.google.com/",' ..
    '"title":"Board charts for teams | Marketplace","version":"0.1.0"}', id, app, stamp, counter % 1000, visitor, counter % 97)
end

function request()
  local parts = {}
  for i = 1, events do parts[i] = event() end
  return wrk.format(nil, nil, nil, '{"sentAt":"' .. stamp .. '.500Z","events":[' .. table.concat(parts, ",") .. "]}")
end
